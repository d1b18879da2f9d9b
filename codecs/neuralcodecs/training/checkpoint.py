"""Checkpoints that survive a kill at any instant: written beside their target, synced, renamed, with a checksum.

Lightning's own writer goes through TMPDIR and loses checkpoints when that is another file system.
"""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from neuralcodecs.atomic import atomic
from neuralcodecs.checkpoints import checksum, digest, verifies
from neuralcodecs.errors import CodecError


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
            sha256 = digest(temporary)
        with atomic(checksum(path)) as temporary:
            temporary.write_text(f"{sha256}  {path.name}\n")
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
