"""The order of training examples as a function of counters: (seed, number of the draw), and of nothing that has run.

The run is a sequence of draws 0, 1, 2 ... Batch k of a run with G examples per step over all ranks holds draws k G to
k G + G - 1, of which rank r of R takes every R-th from r: two processes with batch 2 see what one sees with batch 4.
"""

import bisect
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

MAX_EPOCH = 2**24
"""Draws after which the order begins anew; of larger sets an epoch takes a part, and the next ones the rest."""


class Purpose(IntEnum):
    """What a random stream is for: streams of different purposes are independent."""

    PHASE = 0
    PERMUTATION = 1
    DRAW = 2


def generator(seed: int, purpose: Purpose, number: int) -> np.random.Generator:
    """The random stream of one thing, for example of draw ``number``: Philox with the number in its counter."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, number, purpose]))


class DrawOrder:
    """Which file each draw of the run takes: ``order[draw]``.

    In every epoch file f comes ``shares[f]`` times, in a random order of its own; a share with a fraction is rounded
    up or down so that over the epochs it is met exactly. So each file with a share of at least 1 comes in each epoch.

    Args:
        shares: how often each file comes per epoch; at least one above 0. Scaled down where an epoch would be longer
            than ``MAX_EPOCH``.
        seed: of the run, at least 0.
    """

    def __init__(self, shares: NDArray[np.float64], seed: int) -> None:
        self.shares = shares * min(1.0, MAX_EPOCH / shares.sum())
        self.seed = seed
        self._phases = generator(seed, Purpose.PHASE, 0).random(len(shares))
        self._epoch = -1
        self._first = 0
        self._files: NDArray[np.int32] = np.empty(0, np.int32)

    def __getitem__(self, draw: int) -> int:
        if not self._first <= draw < self._first + len(self._files):
            self._enter(self._epoch_of(draw))
        return int(self._files[draw - self._first])

    def replacement(self, source: np.random.Generator) -> int:
        """Another file by the same shares, for a draw whose file cannot be read."""
        return pick(self.shares, source)

    def _counts(self, epoch: int) -> NDArray[np.int64]:
        """How often each file has come before ``epoch``."""
        return np.floor(self.shares * epoch + self._phases).astype(np.int64)

    def _start(self, epoch: int) -> int:
        return int(self._counts(epoch).sum())

    def _epoch_of(self, draw: int) -> int:
        # rounding moves the start of an epoch by less than one draw per file
        mean, slack = self.shares.sum(), len(self.shares)
        low, high = int(max(draw - slack, 0) / mean), int((draw + slack) / mean) + 2
        return bisect.bisect_right(range(low, high + 1), draw, key=self._start) + low - 1

    def _enter(self, epoch: int) -> None:
        times = self._counts(epoch + 1) - self._counts(epoch)
        files = np.repeat(np.arange(len(times), dtype=np.int32), times)
        self._files = generator(self.seed, Purpose.PERMUTATION, epoch).permutation(files)
        self._first, self._epoch = self._start(epoch), epoch


def pick(shares: NDArray[np.float64], source: np.random.Generator) -> int:
    """An index by weight."""
    bounds = np.cumsum(shares)
    return min(int(np.searchsorted(bounds, source.random() * bounds[-1], side="right")), len(shares) - 1)
