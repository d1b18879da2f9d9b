"""When checkpoints are judged: as soon as they lie on the disk, with the weights that were saved."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import lightning as L

from neuralcodecs.errors import CodecError
from neuralcodecs.training.checkpoint import AtomicCheckpointIO


class JudgesSaved(L.Callback, ABC):
    """Calls ``judge`` on rank 0 with the paths of checkpoints that were saved since the last time."""

    @abstractmethod
    def judge(self, trainer: L.Trainer, pl_module: Any, paths: list[Path]) -> None:
        """Judge what ``pl_module`` holds: the weights in all of ``paths``."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        checkpoint_io(trainer).saved.clear()

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._judge_new(trainer, pl_module)  # the weights are still those saved at the end of the last batch

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._judge_new(trainer, pl_module)

    def _judge_new(self, trainer: L.Trainer, pl_module: Any) -> None:
        io = checkpoint_io(trainer)
        paths, io.saved = io.saved, []
        if paths and trainer.is_global_zero:
            self.judge(trainer, pl_module, paths)


def checkpoint_io(trainer: L.Trainer) -> AtomicCheckpointIO:
    """The run's checkpoint writer, which knows what was saved; raises CodecError when it is another one."""
    io = trainer.strategy.checkpoint_io
    if not isinstance(io, AtomicCheckpointIO):
        raise CodecError(
            "checkpoints are judged only with plugins=[AtomicCheckpointIO()] in the Trainer, as train.py gives it"
        )
    return io
