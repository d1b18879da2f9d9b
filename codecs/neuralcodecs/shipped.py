"""The default models that come with the package: which files each is for, when no model is named."""

from collections.abc import Iterable
from pathlib import Path

from neuralcodecs import models
from neuralcodecs.audio.medium import Audio
from neuralcodecs.errors import CodecError
from neuralcodecs.image.medium import Image

SUFFIXES: dict[str, tuple[str, ...]] = {"speech": Audio.suffixes, "image": Image.suffixes}
"""Of the files that each default model is for, by its name."""
ALL_SUFFIXES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


def default_for(path: Path) -> str:
    """The name of the default model for a file, by its suffix; CodecError where there is none."""
    for name, suffixes in SUFFIXES.items():
        if path.suffix.lower() in suffixes:
            return name
    raise CodecError(f"{path}: no default model is for {path.suffix or 'files without suffix'}: name one with -m")


def default_folder(name: str) -> Path:
    """Where a default model lies; CodecError in an installation that has none."""
    folder = models.SHIPPED / name
    if not (folder / models.WEIGHTS).is_file():
        raise CodecError(f"this installation has no default model {name!r}: name a model with -m")
    return folder


def only_default(names: Iterable[str], what: str) -> str:
    """The one default model of ``names``, where all of ``what`` must go by one; CodecError for none or several."""
    found = sorted(set(names))
    if not found:
        raise CodecError(f"{what} has no file of {', '.join(ALL_SUFFIXES)}: name a model")
    if len(found) > 1:
        raise CodecError(f"{what} has files for the default models {' and '.join(found)}: give one kind, or a model")
    return found[0]
