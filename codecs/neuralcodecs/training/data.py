"""What audio and image data share: sources, workers, bad files, validation, resume."""

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from neuralcodecs.errors import CodecError
from neuralcodecs.sources import Entry, Source, entries
from neuralcodecs.training.collate import Collate, Numbered, leave_signals_to_the_trainer
from neuralcodecs.training.stream import REPLACEMENTS, Batch, BatchStream, Delivery, Examples, Join, Shard

__all__ = ["Batch", "Examples", "Loading", "SignalDataModule", "TrainLoader"]

T = TypeVar("T")

NAMED = 20
"""Bad files that the message of a stopped run lists."""


@dataclass(frozen=True)
class Loading:
    """How batches are made.

    Args:
        workers: processes that read; 0 reads in the training process. Batches do not depend on it.
        seed: of the order and of every random choice in the data, at least 0.
        cache: decode all training files at the start and hold them in memory.
        max_bad: share of unreadable files above which the run stops.
        resident: hold the cached set on the training device and cut batches there (audio).
    """

    workers: int = 2
    seed: int = 0
    cache: bool = False
    max_bad: float = 0.1
    resident: bool = False


class TrainLoader:
    """An endless loader that begins at the batch that the data module names next, whenever it is iterated anew.

    Not a DataLoader, so that Lightning neither shards it again nor needs a length.
    """

    def __init__(self, module: "SignalDataModule", examples: Examples, shard: Shard) -> None:
        self.module = module
        self.examples = examples
        self.shard = shard

    def __iter__(self) -> Iterator[Batch]:
        loader = self._deliveries()
        while True:
            asked = time.perf_counter()
            batch, failed = next(loader)
            self.module.waited += time.perf_counter() - asked
            self.module.report(failed)
            if batch is None:
                raise CodecError(f"{REPLACEMENTS} files in a row cannot be read, the last: {failed[-1]}")
            yield batch

    def _deliveries(self) -> Iterator[Delivery]:
        loading, start = self.module.loading, self.module.next_batch
        if loading.resident:
            examples, join = self.module.resident(self.examples)
            return iter(BatchStream(examples, loading.seed, self.shard, start, join))
        return iter(
            DataLoader(
                BatchStream(self.examples, loading.seed, self.shard, start),
                batch_size=None,
                num_workers=loading.workers,
                pin_memory=torch.cuda.is_available(),
                prefetch_factor=4 if loading.workers else None,
                worker_init_fn=leave_signals_to_the_trainer,
            )
        )

    def state_dict(self) -> dict[str, Any]:
        """Empty: the position is the data module's. Without it Lightning warns that resuming would be unreliable."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        return None


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

    def resident(self, examples: Examples) -> tuple[Examples, Join]:
        """What draws on the host and makes batches on the training device. Raises CodecError where it cannot."""
        raise CodecError(f"{type(self).__name__} holds no set on the device: set loading.resident to false")

    @property
    def device(self) -> torch.device:
        """That of training."""
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

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

    def val_dataloader(self) -> DataLoader[tuple[int, Tensor]]:
        """Batches with ``shapes``. Under DDP the first files come twice where the ranks' shares would differ."""
        assert self._validation is not None, "setup comes first"
        rank, ranks = self._rank()
        size = self.validation_batch_size
        return DataLoader(
            Numbered(self._validation),
            size,
            sampler=DistributedSampler(self._validation, ranks, rank, shuffle=False),
            num_workers=self.loading.workers,
            collate_fn=Collate(size * ranks),
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.loading.workers > 0,
            worker_init_fn=leave_signals_to_the_trainer,
        )

    def test_dataloader(self) -> DataLoader[tuple[int, Tensor]]:
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
                f"{len(self._bad)} of {self._files} files cannot be used, more than the share of "
                f"{self.loading.max_bad} that loading.max_bad allows: {listed}"
            )

    @staticmethod
    def readable(items: Sequence[T], read: Callable[[T], object]) -> tuple[list[T], list[str]]:
        """The items that can be read, each tried now so that no validation meets another; a line for each other."""
        good, failed = [], []
        for item in items:
            try:
                read(item)
                good.append(item)
            except CodecError as error:
                failed.append(str(error))
        return good, failed

    @staticmethod
    def stop_if_none(files: int, failed: list[str]) -> None:
        """Raises CodecError where no file is left."""
        if not files:
            raise CodecError(f"none of {len(failed)} files can be used, the first: {failed[0]}")

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
