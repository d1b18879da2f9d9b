"""Where training files come from: folders and manifests, with weights and kinds."""

import csv
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from neuralcodecs.atomic import MARK
from neuralcodecs.errors import CodecError

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """Files of one origin.

    Args:
        path: a folder (searched recursively), a single file, or a manifest: ``.csv`` with a column ``path`` and, if
            wanted, ``split``, ``weight`` and ``kind``; ``.txt`` with a path in each line. Paths start at the manifest.
        weight: how often a second (or an image) of this source is drawn per second (or image) of a source of weight 1.
        kind: for augmentations that treat kinds apart, for example ``music``; a manifest's own column comes first.
        split: only the rows of a manifest with this split.
    """

    path: str
    weight: float = 1.0
    kind: str = ""
    split: str = ""


class Entry(NamedTuple):
    """One file of a source."""

    path: Path
    weight: float
    kind: str


def entries(sources: list[str | Source], suffixes: tuple[str, ...]) -> list[Entry]:
    """Files of all sources whose names end in ``suffixes``, in a fixed order, without those of weight 0.

    Raises:
        CodecError: a source is missing, holds no such file, or has a weight that is negative or not a number.
    """
    found = []
    for source in sources:
        source = Source(source) if isinstance(source, str) else source
        path = Path(source.path)
        if path.is_dir():
            listed = _folder(path, source)
        elif not path.is_file():
            raise CodecError(f"{path}: no such folder, manifest or file: correct the path of the data")
        elif path.suffix.lower() in (".csv", ".txt"):
            listed = _manifest(path, source)
        else:
            listed = [Entry(path, source.weight, source.kind)]
        listed = [entry for entry in listed if entry.path.suffix.lower() in suffixes]
        if not listed:
            split = f" of split {source.split!r}" if source.split else ""
            raise CodecError(f"{path}: holds no {', '.join(suffixes)} file{split}: correct the path of the data")
        found += listed
    for entry in found:
        if not (math.isfinite(entry.weight) and entry.weight >= 0):
            raise CodecError(f"{entry.path}: weight {entry.weight} is not a number of at least 0: correct it")
    used = [entry for entry in found if entry.weight]
    if not used:
        raise CodecError("no data: name at least one folder or manifest with a weight above 0")
    return used


def remarks(manifest: Path) -> dict[Path, dict[str, str]]:
    """What the other columns of a manifest say of each file: all but ``path`` and ``weight``; nothing of a ``.txt``."""
    if manifest.suffix.lower() != ".csv":
        return {}
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    own = (None, "path", "weight")
    return {
        manifest.parent / row["path"].strip(): {key: text for key, text in row.items() if key not in own and text}
        for row in rows
    }


def survey(entries: Sequence[Entry], look: Callable[[Entry], T]) -> tuple[list[T], list[str]]:
    """What ``look`` finds in the header of each file, in order, and a line for each at which it raises CodecError."""
    failed: dict[int, str] = {}

    def attempt(number: int) -> T | None:
        try:
            return look(entries[number])
        except CodecError as error:
            failed[number] = str(error)
            return None

    with ThreadPoolExecutor() as pool:  # what it waits for is mostly the disk
        looked = pool.map(attempt, range(len(entries)))
        found = list(tqdm(looked, "scan", len(entries), unit="file", disable=None, leave=False))
    return [item for item in found if item is not None], [failed[number] for number in sorted(failed)]


def _folder(path: Path, source: Source) -> list[Entry]:
    if source.split:
        raise CodecError(f"{path}: split {source.split!r} needs a manifest with a column 'split', this is a folder")
    names = sorted(p for p in path.rglob("*") if not p.name.startswith(".") and MARK not in p.name and p.is_file())
    return [Entry(p, source.weight, source.kind) for p in names]


def _manifest(path: Path, source: Source) -> list[Entry]:
    if path.suffix.lower() == ".txt":
        rows = [{"path": line} for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    else:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    if rows and ("path" not in rows[0] or (source.split and "split" not in rows[0])):
        raise CodecError(f"{path}: a manifest needs a column 'path', and 'split' where a split is asked for")
    return [
        Entry(
            path.parent / row["path"].strip(),
            source.weight * _number(path, row.get("weight") or "1"),
            row.get("kind") or source.kind,
        )
        for row in rows
        if not source.split or row["split"] == source.split
    ]


def _number(path: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise CodecError(f"{path}: weight {text!r} is not a number: correct it") from error
