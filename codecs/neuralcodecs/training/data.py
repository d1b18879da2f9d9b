"""What audio and image data share: batches that are functions of counters, bad files, validation, resume."""

import itertools
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import lightning as L
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, get_worker_info

from neuralcodecs.errors import CodecError
from neuralcodecs.sources import Entry, Source, entries
from neuralcodecs.training.sampling import DrawOrder, Purpose, generator
from neuralcodecs.training.seeds import derive

REPLACEMENTS = 20
"""Unreadable files in a row, in one draw, after which something else must be wrong."""
NAMED = 20
"""Bad files that the message of a stopped run lists."""


class Batch(NamedTuple):
    """What a step is given. ``index``: number of the batch in the run. ``seed``: 63 bits, equal on all ranks."""

    signal: Float[Tensor, "b c *space"]
    index: int
    seed: int
    shapes: tuple[tuple[int, ...], ...] | None = None
    """In validation, the true shape of each item, beyond which ``signal`` is padded with zeros."""


class Examples(Protocol):
    """Training examples of equal shape. ``shares``: how often each file is drawn per epoch."""

    shares: NDArray[np.float64]

    def draw(self, file: int, source: np.random.Generator) -> Float[Tensor, "c *space"]:
        """An example from a file: a function of the arguments. Raises CodecError where a file cannot be read."""


@dataclass(frozen=True)
class Loading:
    """How batches are made.

    Args:
        workers: processes that read; 0 reads in the training process. Batches do not depend on it.
        seed: of the order and of every random choice in the data, at least 0.
        cache: decode all training files at the start and hold them in memory.
        max_bad: share of unreadable files above which the run stops.
    """

    workers: int = 2
    seed: int = 0
    cache: bool = False
    max_bad: float = 0.1


class Shard(NamedTuple):
    """This process's part of every step: ``batch_size`` examples of ``batch_size * ranks``."""

    batch_size: int
    rank: int
    ranks: int


class BatchStream(IterableDataset[tuple[Batch, tuple[str, ...]]]):
    """Batches ``start``, ``start + 1`` ... of the run, each with a line for every file that could not be read."""

    def __init__(self, examples: Examples, seed: int, shard: Shard, start: int) -> None:
        self.examples = examples
        self.order = DrawOrder(examples.shares, seed)
        self.shard = shard
        self.start = start

    def __iter__(self) -> Iterator[tuple[Batch, tuple[str, ...]]]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return map(self.batch, itertools.count(self.start + first, step))

    def batch(self, index: int) -> tuple[Batch, tuple[str, ...]]:
        size, rank, ranks = self.shard
        draws = range(index * size * ranks + rank, (index + 1) * size * ranks, ranks)
        failed: list[str] = []
        with _one_thread():
            signal = torch.stack([self._example(draw, failed) for draw in draws])
        return Batch(signal, index, derive(self.order.seed, index)), tuple(failed)

    def _example(self, draw: int, failed: list[str]) -> Float[Tensor, "c *space"]:
        source = generator(self.order.seed, Purpose.DRAW, draw)
        file = self.order[draw]
        for _ in range(REPLACEMENTS):
            try:
                return self.examples.draw(file, source)
            except CodecError as error:
                failed.append(str(error))
                file = self.order.replacement(source)
        raise CodecError(f"{REPLACEMENTS} files in a row cannot be read, the last: {failed[-1]}")


class TrainLoader:
    """An endless loader that begins at the batch that the data module names next, whenever it is iterated anew.

    Not a DataLoader, so that Lightning neither shards it again nor needs a length.
    """

    def __init__(self, module: "SignalDataModule", examples: Examples, shard: Shard) -> None:
        self.module = module
        self.examples = examples
        self.shard = shard

    def __iter__(self) -> Iterator[Batch]:
        loading = self.module.loading
        loader = iter(
            DataLoader(
                BatchStream(self.examples, loading.seed, self.shard, self.module.next_batch),
                batch_size=None,
                num_workers=loading.workers,
                pin_memory=torch.cuda.is_available(),
                prefetch_factor=4 if loading.workers else None,
            )
        )
        while True:
            asked = time.perf_counter()
            try:
                batch, failed = next(loader)
            except CodecError as error:  # a worker's error carries its traceback in its message
                raise CodecError(str(error).rstrip().rsplit("CodecError: ", 1)[-1]) from error
            self.module.waited += time.perf_counter() - asked
            self.module.report(failed)
            yield batch


class SignalDataModule(L.LightningDataModule, ABC):
    """Endless training batches whose only state is ``next_batch``, and a finite, fixed validation set.

    ``next_batch``: number of the next training batch of the run; whoever trains a batch sets it to ``batch.index + 1``.
    ``waited``: seconds for which training has waited for data. ``unit``: of ``extent``.

    Args:
        train: folders, manifests or ``Source`` objects.
        val: the same, for validation; also what ``test`` runs on.
        batch_size: examples per process and step.
        loading: workers, seed, cache, tolerance of bad files.
    """

    unit: str
    suffixes: tuple[str, ...]

    def __init__(self, train: list[str | Source], val: list[str | Source], batch_size: int, loading: Loading) -> None:
        super().__init__()
        if batch_size < 1 or loading.workers < 0 or loading.seed < 0:
            raise CodecError(
                f"batch_size {batch_size}, workers {loading.workers}, seed {loading.seed}: give at least 1, 0 and 0"
            )
        self.sources = {"train": train, "val": val}
        self.batch_size = batch_size
        self.loading = loading
        self.next_batch = 0
        self.waited = 0.0
        self._training: Examples | None = None
        self._validation: Dataset[Tensor] | None = None
        self._bad: set[str] = set()
        self._files = 0

    @abstractmethod
    def training_examples(self, found: list[Entry]) -> tuple[Examples, list[str]]:
        """Examples of the readable files, and a line for each of the others."""

    @abstractmethod
    def validation_examples(self, found: list[Entry]) -> tuple[Dataset[Tensor], list[str]]:
        """One signal ``(c, *space)`` per readable file, and a line for each of the others."""

    @abstractmethod
    def extent(self, shape: tuple[int, ...]) -> float:
        """Size of a signal of ``shape`` (its axes after channels) in ``unit``."""

    @property
    def validation_batch_size(self) -> int:
        return self.batch_size

    def setup(self, stage: str) -> None:
        """Look at all files. Raises CodecError: a source is missing or empty, or too many files are bad."""
        if stage == "fit" and self._training is None:
            found = entries(self.sources["train"], self.suffixes)
            self._files += len(found)
            self._training, failed = self.training_examples(found)
            self.report(failed)
        if self._validation is None:
            found = entries(self.sources["val"], self.suffixes)
            self._files += len(found)
            self._validation, failed = self.validation_examples(found)
            self.report(failed)

    def train_dataloader(self) -> TrainLoader:
        assert self._training is not None, "setup('fit') comes first"
        rank, ranks = self._rank()
        return TrainLoader(self, self._training, Shard(self.batch_size, rank, ranks))

    def val_dataloader(self) -> DataLoader[Batch]:
        assert self._validation is not None, "setup comes first"
        rank, ranks = self._rank()
        size = self.validation_batch_size
        return DataLoader(
            _Numbered(self._validation),
            size,
            sampler=DistributedSampler(self._validation, ranks, rank, shuffle=False),  # type: ignore[arg-type]
            num_workers=self.loading.workers,
            collate_fn=_Collate(size * ranks),
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.loading.workers > 0,
        )

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.val_dataloader()

    def report(self, failed: Sequence[str]) -> None:
        """Warn of bad files, once of each. Raises CodecError when they are too many."""
        for line in failed:
            if line not in self._bad:
                self._bad.add(line)
                warnings.warn(f"skipped {line}", stacklevel=2)
        if len(self._bad) > self.loading.max_bad * self._files:
            listed = "; ".join(sorted(self._bad)[:NAMED]) + (" ..." if len(self._bad) > NAMED else "")
            raise CodecError(
                f"{len(self._bad)} of {self._files} files cannot be used, more than the share of {self.loading.max_bad} "
                f"that loading.max_bad allows: {listed}"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"next_batch": self.next_batch, "seed": self.loading.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["seed"] != self.loading.seed:
            raise CodecError(
                f"the checkpoint was trained with data seed {state_dict['seed']}, this run has {self.loading.seed}: "
                f"set loading.seed to {state_dict['seed']}"
            )
        self.next_batch = state_dict["next_batch"]

    def _rank(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)


class _Numbered(Dataset[tuple[int, Tensor]]):
    def __init__(self, signals: Dataset[Tensor]) -> None:
        self.signals = signals

    def __len__(self) -> int:
        return len(self.signals)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        with _one_thread():
            return index, self.signals[index]


class _Collate:
    def __init__(self, per_step: int) -> None:
        self.per_step = per_step

    def __call__(self, items: list[tuple[int, Tensor]]) -> Batch:
        signals = [signal for _, signal in items]
        shapes = tuple(tuple(signal.shape[1:]) for signal in signals)
        largest = (max(axis) for axis in zip(*shapes, strict=True))
        padded = signals[0].new_zeros((len(signals), len(signals[0]), *largest))
        for row, signal, shape in zip(padded, signals, shapes, strict=True):
            row[(slice(None), *(slice(n) for n in shape))] = signal
        index = items[0][0] // self.per_step
        return Batch(padded, index, derive(index), shapes)


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in a worker process: sums may depend on the number of threads, batches must not."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
