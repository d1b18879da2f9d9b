"""A callback that times a run's steps: wall time from one step to another, the device waited for only at both ends."""

import time
from typing import Any

import lightning as L
import torch
import torch.distributed as dist

from neuralcodecs.layers.distributed import rank_and_world


class Clock(L.Callback):
    """Prints milliseconds per step of the slowest rank, waiting for data among them, and the peak memory.

    Args:
        first: step after which time is taken, to the end of training.
        name: printed before the figures.
    """

    def __init__(self, first: int, name: str = "") -> None:
        self.first = first
        self.name = name
        self.began = 0.0
        self.waited = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *rest: Any) -> None:
        if trainer.global_step == self.first and not self.began:
            self.began, self.waited = self._now(), self._waited(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        steps = trainer.global_step - self.first
        step = torch.tensor(1e3 * (self._now() - self.began) / steps, device=pl_module.device)
        if dist.is_initialized():
            dist.all_reduce(step, dist.ReduceOp.MAX)
        different, tensors = self._compared(pl_module)
        waited = 1e3 * (self._waited(trainer) - self.waited) / steps
        memory = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else float("nan")
        if rank_and_world()[0] == 0:
            print(
                f"{self.name} {trainer.world_size} devices: {float(step):.1f} ms a step over {steps} steps, "
                f"{waited:.1f} waiting for data; {memory:.2f} GiB; "
                f"tensors that differ between ranks: {different} of {tensors}",
                flush=True,
            )

    @staticmethod
    def _compared(module: L.LightningModule) -> tuple[int, int]:
        """How many tensors of the state are not rank 0's on some rank, and how many there are."""
        tensors = [value for value in module.state_dict().values() if torch.is_tensor(value)]
        if not dist.is_initialized():
            return 0, len(tensors)
        different = torch.zeros(len(tensors), device=module.device)
        for number, value in enumerate(tensors):
            first = value.clone()
            dist.broadcast(first, 0)
            different[number] = not torch.equal(first, value)
        dist.all_reduce(different)
        return int(different.count_nonzero()), len(tensors)

    @staticmethod
    def _waited(trainer: L.Trainer) -> float:
        return trainer.datamodule.waited  # type: ignore[attr-defined]

    @staticmethod
    def _now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()
