"""Which checkpoint of a run is whole: by its checksum, or by trying to load it."""

import hashlib
from pathlib import Path

import torch

from neuralcodecs.atomic import remove_temporaries

FOLDER = "checkpoints"
"""Name of the folder of checkpoints in the folder of a run."""
CHECKSUM_SUFFIX = ".sha256"


def checksum(path: Path) -> Path:
    """The checksum file of a checkpoint."""
    return path.with_name(path.name + CHECKSUM_SUFFIX)


def verifies(path: Path) -> bool:
    """Whether a checkpoint is whole: by its checksum; one without (killed between the two writes) by loading it."""
    if checksum(path).is_file():
        return checksum(path).read_text().split()[:1] == [digest(path)]
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except Exception:  # whatever a truncated file raises, it does not verify
        return False
    return True


def newest(directory: Path) -> Path | None:
    """The newest checkpoint in ``directory`` that verifies; leftovers of killed writers are removed on the way."""
    if not directory.is_dir():
        return None
    remove_temporaries(directory)
    candidates = sorted(directory.glob("*.ckpt"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    return next((path for path in candidates if verifies(path)), None)


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
