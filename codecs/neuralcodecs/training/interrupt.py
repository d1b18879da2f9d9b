"""A run never ends without a checkpoint: one at its last step, and on SIGTERM one at the end of the batch at hand."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch.distributed as dist

EXIT_STATUS = 128 + signal.SIGTERM
BATCHES_BETWEEN_CHECKS = 8


class SaveOnExit(L.Callback):
    """Saves ``step=N.ckpt`` in the run's checkpoint folder when training ends or is told to.

    SIGTERM and SIGUSR1 end it after the batch at hand with exit status 143, as clusters expect. Under DDP the ranks
    agree every few batches, so that all of them save the same step.
    """

    def __init__(self) -> None:
        self._asked = False

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._ask)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if dist.is_initialized() and dist.get_world_size() > 1:
            if batch_idx % BATCHES_BETWEEN_CHECKS:
                return
            self._asked = trainer.strategy.reduce_boolean_decision(self._asked, all=False)
        # between optimizer steps only: gradients gathered so far are not in a checkpoint
        if self._asked and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._save(trainer)
            raise SystemExit(EXIT_STATUS)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._save(trainer)

    @staticmethod
    def _save(trainer: L.Trainer) -> None:
        folder = getattr(trainer.checkpoint_callback, "dirpath", None) or trainer.default_root_dir
        path = Path(folder) / f"step={trainer.global_step}.ckpt"
        if trainer.global_step and not path.exists():
            trainer.save_checkpoint(path)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
