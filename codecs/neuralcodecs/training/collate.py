"""What loaders of training and validation share: worker processes that leave signals alone, padded batches."""

import signal

from torch import Tensor
from torch.utils.data import Dataset

from neuralcodecs.threads import one_thread
from neuralcodecs.training.seeds import derive
from neuralcodecs.training.stream import Batch


def leave_signals_to_the_trainer(worker: int) -> None:
    """Schedulers and ``timeout`` signal every process of a job: a worker that died of it would take the run down before
    it has saved. Workers end when the training process does."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


class Numbered(Dataset[tuple[int, Tensor]]):
    def __init__(self, signals: Dataset[Tensor]) -> None:
        self.signals = signals

    def __len__(self) -> int:
        return len(self.signals)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        with one_thread():
            return index, self.signals[index]


class Collate:
    def __init__(self, per_step: int) -> None:
        self.per_step = per_step

    def __call__(self, items: list[tuple[int, Tensor]]) -> Batch:
        signals = [signal for _, signal in items]
        shapes = tuple(tuple(signal.shape[1:]) for signal in signals)
        largest = (max(axis) for axis in zip(*shapes, strict=True))
        padded = signals[0].new_zeros((len(signals), len(signals[0]), *largest))
        for row, item, shape in zip(padded, signals, shapes, strict=True):
            row[(slice(None), *(slice(n) for n in shape))] = item
        index = items[0][0] // self.per_step
        return Batch(padded, index, derive(index), shapes)
