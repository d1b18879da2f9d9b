"""A run never ends without a checkpoint: one at its last step, and on SIGTERM one at the end of the batch at hand."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch
import torch.distributed as dist

from neuralcodecs.training.guard import Late

EXIT_STATUS = 128 + signal.SIGTERM


class SaveOnExit(L.Callback):
    """Saves ``step=N.ckpt`` in the run's checkpoint folder when training ends or is told to.

    SIGTERM and SIGUSR1 end it after the batch at hand with exit status 143, as clusters expect. Under DDP the ranks
    agree, so that all of them save the same step: one batch later, when the answer has long been known.
    """

    def __init__(self) -> None:
        self._asked = False
        self._leaving = False
        self._answer: Late | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._ask)
        # Before every batch Lightning 2.6 asks all ranks whether one got a signal and waits for the answer, and so for
        # all that is under way on the device, which idles then. No rank ever says yes: the handlers are ours.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._leaving = self._leaving or (self._agreed(pl_module.device) if trainer.world_size > 1 else self._asked)
        # between optimizer steps only: gradients gathered so far are not in a checkpoint
        if self._leaving and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._save(trainer)
            raise SystemExit(EXIT_STATUS)

    def _agreed(self, device: torch.device) -> bool:
        """Whether a rank had been asked when this was called last: the same on all of them."""
        known = self._answer is not None and self._answer.read() == [1.0]
        flag = torch.full((1,), float(self._asked), device=device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        self._answer = Late(flag)
        return known

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
