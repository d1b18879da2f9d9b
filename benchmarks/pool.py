"""Training examples drawn once and held on the training device: batches are picked there, and the host does nothing."""

import itertools
import math
from collections.abc import Iterator

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.training.data import Batch, SignalDataModule
from neuralcodecs.training.seeds import derive


class Pool(L.LightningDataModule):
    """So many examples of another data module, in every order: for short trainings in which reading would be slow.

    The examples are drawn when a training first asks for them, and kept for those after it.

    Args:
        data: where the examples come from, with its own workers.
        size: how many; rounded up to whole batches.
        device: of training.
    """

    def __init__(self, data: SignalDataModule, size: int, device: str) -> None:
        super().__init__()
        self.data, self.device = data, torch.device(device)
        self.count = math.ceil(size / data.batch_size)
        self.next_batch = 0
        self._signals: Float[Tensor, "n c *space"] | None = None

    def setup(self, stage: str) -> None:
        if self._signals is None:
            self.data.setup("fit")
            drawn = itertools.islice(self.data.train_dataloader(), self.count)
            self._signals = torch.cat([batch.signal.to(self.device) for batch in drawn])

    def train_dataloader(self) -> "Picks":
        assert self._signals is not None, "setup comes first"
        return Picks(self._signals, self.data.batch_size, self.data.loading.seed)


class Picks:
    """Endless batches: the examples in a new order each time that all have been taken."""

    def __init__(self, signals: Float[Tensor, "n c *space"], batch_size: int, seed: int) -> None:
        self.signals, self.batch_size, self.seed = signals, batch_size, seed

    def __iter__(self) -> Iterator[Batch]:
        source = torch.Generator(self.signals.device).manual_seed(self.seed)
        index = itertools.count()
        while True:
            order = torch.randperm(len(self.signals), generator=source, device=self.signals.device)
            for chosen in order.split(self.batch_size):
                number = next(index)
                yield Batch(self.signals[chosen], number, derive(self.seed, number))
