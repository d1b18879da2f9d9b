"""How fast training goes through data, and how long it waits for it."""

import time
from typing import Any

import lightning as L

from neuralcodecs.training.data import Batch, SignalDataModule


class Throughput(L.Callback):
    """Logs, every ``every`` batches, to the logger and the progress bar, the means since the last time:

    ``throughput/seconds_per_second`` (images: ``pixels_per_second``): signal trained on per second of wall clock, all
    ranks together; ``throughput/waiting``: share of that clock in which this process waited for its next batch.
    Validation is left out. Needs a ``SignalDataModule``.
    """

    def __init__(self, every: int = 10) -> None:
        self.every = every

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restart(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restart(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        data = _data(trainer)
        self._batches += 1
        self._extent += len(batch.signal) * data.extent(tuple(batch.signal.shape[2:])) * trainer.world_size
        if self._batches < self.every:
            return
        elapsed = time.perf_counter() - self._began
        figures = {
            f"throughput/{data.unit}_per_second": self._extent / elapsed,
            "throughput/waiting": (data.waited - self._waited) / elapsed,
        }
        pl_module.log_dict(figures, prog_bar=True, batch_size=len(batch.signal))
        self._restart(trainer)

    def _restart(self, trainer: L.Trainer) -> None:
        self._began = time.perf_counter()
        self._waited = _data(trainer).waited
        self._batches = 0
        self._extent = 0.0


def _data(trainer: L.Trainer) -> SignalDataModule:
    return trainer.datamodule  # type: ignore[attr-defined]
