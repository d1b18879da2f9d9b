"""Models that this machine knows by name: the user's, and the defaults that come with the package.

The user's are exported folders under $NEURALCODECS_HOME or ~/.cache/neuralcodecs/models.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from neuralcodecs.errors import CodecError

HOME = "NEURALCODECS_HOME"
WEIGHTS = "model.safetensors"
METRICS = "metrics.json"
"""What was measured, beside a checkpoint or a default model's weights."""
SHIPPED = Path(__file__).with_name("defaults")
"""Folder of the default models: data in the package, read as any model from outside."""
FINGERPRINT = "fingerprint"
"""Key in the metadata of the weights file: what the exporter computed. Whoever loads the model computes it again."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Known(NamedTuple):
    """One model of this machine; ``fingerprint`` in hex, empty where its exporter wrote none."""

    name: str
    folder: Path
    fingerprint: str


def home() -> Path:
    """The folder whose folders are the known models."""
    given = os.environ.get(HOME)
    return Path(given) if given else Path.home() / ".cache" / "neuralcodecs" / "models"


def is_name(text: str) -> bool:
    """Whether ``text`` is a plain word and hence a model's name; whatever has a ``/`` is a path or a hub id."""
    return _NAME.fullmatch(text) is not None


def place(text: str) -> Path:
    """Where ``export`` and ``import`` write: the folder of the model of that name, or the path that it is."""
    return home() / text if is_name(text) else Path(text)


def find(text: str) -> Path | None:
    """The folder of the model of that name, the user's own before a default; None where there is none."""
    roots = (home(), SHIPPED) if is_name(text) else ()
    return next((root / text for root in roots if (root / text / WEIGHTS).is_file()), None)


def known() -> Iterator[Known]:
    """The user's models and then the defaults, in name order; only the head of each weights file is read."""
    for root in (home(), SHIPPED):
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if is_name(folder.name) and (folder / WEIGHTS).is_file():
                yield Known(folder.name, folder, stored_fingerprint(folder))


def with_fingerprint(wanted: str) -> Known:
    """The known model that says it has this fingerprint (hex); CodecError naming it when there is none."""
    models = list(known())
    for model in models:
        if model.fingerprint == wanted:
            return model
    have = ", ".join(f"{m.name} ({m.fingerprint or 'unstated'})" for m in models) or "none"
    raise CodecError(f"needs model {wanted}, known here are {have}: name it with -m, or get it by import or export")


def stored_fingerprint(folder: Path) -> str:
    """What the head of a weights file says; empty where it says nothing or cannot be read."""
    try:
        with safe_open(folder / WEIGHTS, framework="numpy") as file:
            return (file.metadata() or {}).get(FINGERPRINT, "")
    except (SafetensorError, OSError):
        return ""
