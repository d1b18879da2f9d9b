"""SIGTERM: save at the end of the batch in progress and exit with status 143, as clusters expect."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch.distributed as dist

EXIT_STATUS = 128 + signal.SIGTERM
BATCHES_BETWEEN_CHECKS = 8


class SaveOnTerminate(L.Callback):
    """Turns SIGTERM and SIGUSR1 into a checkpoint ``terminated.ckpt`` in the run's checkpoint folder and a clean exit.

    Under DDP the ranks agree every few batches, so that all of them save the same step.
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
            folder = Path(trainer.checkpoint_callback.dirpath or trainer.default_root_dir)  # type: ignore[union-attr]
            trainer.save_checkpoint(folder / "terminated.ckpt")
            raise SystemExit(EXIT_STATUS)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
