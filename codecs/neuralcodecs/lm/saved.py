"""What is in the folder of a saved tokenizer; a JSON file from outside may name patterns of this package only."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neuralcodecs import hub
from neuralcodecs.atomic import atomic
from neuralcodecs.errors import CodecError
from neuralcodecs.lm import orders
from neuralcodecs.lm.patterns import Pattern
from neuralcodecs.lm.vocabulary import Vocabulary

FILE = "codec_tokenizer.json"
CODEC = "codec"
MAX_BYTES = 100_000
NUMBERS = ("offset", "begin", "end", "pad")


@dataclass(frozen=True)
class Facts:
    """The content of the JSON file; ``ids``: None where the tokenizer was in no vocabulary."""

    name: str
    levels: int
    padding_side: str
    fingerprint: str
    pattern: dict[str, Any]
    ids: dict[str, int] | None


def ids(vocabulary: Vocabulary | None) -> dict[str, int] | None:
    """The numbers of a vocabulary that its codec does not say."""
    return None if vocabulary is None else {name: getattr(vocabulary, name) for name in NUMBERS}


def write(folder: Path, facts: Facts) -> None:
    """Write the JSON file, whole or not at all."""
    with atomic(folder / FILE) as temporary:
        temporary.write_text(json.dumps(asdict(facts), indent=2))


def locate(source: str | Path) -> Path:
    """The folder itself, or the local copy of a hub id. Raises CodecError when the hub has none."""
    if Path(source).exists() or str(source).count("/") != 1 or str(source).startswith((".", "~")):
        return Path(source)
    return hub.fetch(str(source), (FILE, f"{CODEC}/*"))


def read(folder: Path) -> Facts:
    """The facts of a folder. Raises CodecError naming the file when it is missing, too large or damaged."""
    path = folder / FILE
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise CodecError(f"no {FILE} of at most {MAX_BYTES} bytes in {folder}: save the tokenizer there first")
    try:
        facts = Facts(**json.loads(path.read_text()))
        texts = (facts.name, facts.padding_side, facts.fingerprint)
        numbers = (facts.levels, *(facts.ids or {}).values())
        sound = all(type(t) is str for t in texts) and all(type(n) is int and n >= 0 for n in numbers)
        sound = sound and (facts.ids is None or sorted(facts.ids) == sorted(NUMBERS))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CodecError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from error
    if not sound:
        raise CodecError(f"{path} is damaged: a name is no text or an id no number")
    return facts


def pattern(described: dict[str, Any]) -> Pattern:
    """The pattern that ``describe`` wrote. Raises CodecError for classes that are not of this package."""
    try:
        arguments = described["init_args"]
        return Pattern(_part(arguments["arrangement"]), _part(arguments["order"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise CodecError(
            f"a saved pattern cannot be made ({error!r:.200}): give from_pretrained the pattern"
        ) from error


def _part(described: dict[str, Any]) -> Any:
    module, _, name = described["class_path"].rpartition(".")
    part = getattr(orders, name) if module == orders.__name__ else None
    if not isinstance(part, type) or not issubclass(part, orders.Order | orders.Arrangement):
        raise KeyError(described["class_path"])
    return part(**described["init_args"])
