"""Training batches as a function of their number: read, replaced where a file fails, and equal for any workers."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Num
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from neuralcodecs.errors import CodecError
from neuralcodecs.threads import one_thread
from neuralcodecs.training.sampling import DrawOrder, Purpose, generator
from neuralcodecs.training.seeds import derive

REPLACEMENTS = 20
"""Unreadable files in a row, in one draw, after which something else must be wrong."""


class Batch(NamedTuple):
    """What a step is given. ``index``: number of the batch in the run. ``seed``: 63 bits, equal on all ranks."""

    signal: Num[Tensor, "b c *space"]
    index: int  # type: ignore[assignment]  # hides a method of tuples that nobody calls on a batch
    seed: int
    shapes: tuple[tuple[int, ...], ...] | None = None
    """In validation, the true shape of each item, beyond which ``signal`` is padded with zeros."""
    captions: tuple[bytes, ...] = ()
    """In training, what each item shows (``captions``), empty where its file does not say; () where none does."""


@runtime_checkable
class Examples(Protocol):
    """Training examples of equal shape. ``shares``: how often each file is drawn per epoch.

    ``captions``: of each file, or () where no file has one.
    """

    shares: NDArray[np.float64]
    captions: Sequence[bytes]

    def draw(self, file: int, source: np.random.Generator) -> Num[Tensor, "c *space"]:
        """An example from a file: a function of the arguments. Raises CodecError where a file cannot be read."""


class Shard(NamedTuple):
    """This process's part of every step: ``batch_size`` examples of ``batch_size * ranks``."""

    batch_size: int
    rank: int
    ranks: int


class Delivery(NamedTuple):
    """What a worker sends. ``batch``: None when too many files in a row failed. ``failed``: a line for each failure."""

    batch: Batch | None
    failed: tuple[str, ...]


Join = Callable[[list[Tensor]], Tensor]
"""What the examples of a batch, or what was drawn for each, are put together by."""


class BatchStream(IterableDataset[Delivery]):
    """Batches ``start``, ``start + 1`` ... of the run.

    An unreadable file does not raise: an exception would reach the training process with a worker's traceback.
    """

    def __init__(self, examples: Examples, seed: int, shard: Shard, start: int, join: Join = torch.stack) -> None:
        self.examples = examples
        self.join = join
        self.order = DrawOrder(examples.shares, seed)
        self.shard = shard
        self.start = start

    def __iter__(self) -> Iterator[Delivery]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return map(self.batch, itertools.count(self.start + first, step))

    def batch(self, index: int) -> Delivery:
        size, rank, ranks = self.shard
        draws = range(index * size * ranks + rank, (index + 1) * size * ranks, ranks)
        failed: list[str] = []
        with one_thread():
            drawn = [self._example(draw, failed) for draw in draws]
        good = [example for example in drawn if example is not None]
        if len(good) < len(drawn):
            return Delivery(None, tuple(failed))
        signals = self.join([signal for signal, _ in good])
        captions = tuple(self.examples.captions[file] for _, file in good) if self.examples.captions else ()
        return Delivery(Batch(signals, index, derive(self.order.seed, index), captions=captions), tuple(failed))

    def _example(self, draw: int, failed: list[str]) -> tuple[Num[Tensor, "c *space"], int] | None:
        """An example and the number of its file."""
        source = generator(self.order.seed, Purpose.DRAW, draw)
        file = self.order[draw]
        for _ in range(REPLACEMENTS):
            try:
                return self.examples.draw(file, source), file
            except CodecError as error:
                failed.append(str(error))
                file = self.order.replacement(source)
        return None
