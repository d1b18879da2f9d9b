"""Checkpoints that survive a kill at any instant: written beside their target, synced, renamed, with a checksum.

Lightning's own writer goes through TMPDIR and loses checkpoints when that is another file system.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from neuralcodecs.atomic import atomic, remove_temporaries
from neuralcodecs.errors import CodecError

CHECKSUM_SUFFIX = ".sha256"


class AtomicCheckpointIO(CheckpointIO):
    """Writes, verifies and removes checkpoints together with their ``.sha256`` files.

    ``saved``: paths written since whoever reads it has cleared it.
    """

    def __init__(self) -> None:
        self.saved: list[Path] = []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        checksum(path).unlink(missing_ok=True)  # an old sum must never stand beside a new file
        with atomic(path) as temporary:
            torch.save(checkpoint, temporary)
            digest = _digest(temporary)
        with atomic(checksum(path)) as temporary:
            temporary.write_text(f"{digest}  {path.name}\n")
        self.saved.append(path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        path = Path(path)
        if not path.is_file():
            raise CodecError(f"no checkpoint at {path}")
        if checksum(path).is_file() and not verifies(path):
            raise CodecError(f"{path} does not match its checksum: resume from another checkpoint")
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)

    def remove_checkpoint(self, path: str | Path) -> None:
        checksum(Path(path)).unlink(missing_ok=True)
        Path(path).unlink(missing_ok=True)


def checksum(path: Path) -> Path:
    """The checksum file of a checkpoint."""
    return path.with_name(path.name + CHECKSUM_SUFFIX)


def verifies(path: Path) -> bool:
    """Whether a checkpoint is whole: by its checksum; one without (killed between the two writes) by loading it."""
    if checksum(path).is_file():
        return checksum(path).read_text().split()[:1] == [_digest(path)]
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


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
