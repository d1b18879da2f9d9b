"""Decoded training files held in one block of memory, which worker processes share."""

import math
import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.threads import one_thread

MEMORY_SHARE = 0.5
"""Of the machine's memory, what decoded files may take."""


class Cache:
    """Signals by the number of their file.

    Args:
        shapes: of each file's signal, channels first.
        dtype: of the signals.
        read: the signal of a file; one that raises CodecError is not held.

    Raises:
        CodecError: what is to be held needs more than half of the machine's memory.
    """

    def __init__(self, shapes: Sequence[Shape], dtype: torch.dtype, read: Callable[[int], Tensor]) -> None:
        self._shapes = shapes
        self._ends = np.cumsum([math.prod(shape) for shape in shapes])
        need = dtype.itemsize * int(self._ends[-1])
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if need > MEMORY_SHARE * memory:
            raise CodecError(
                f"the decoded files need {need / 2**30:.1f} of {memory / 2**30:.1f} GiB of memory: set cache to false"
            )
        self._values = torch.zeros(int(self._ends[-1]), dtype=dtype)
        self._held = np.zeros(len(shapes), dtype=bool)
        for number in tqdm(range(len(shapes)), "decode", unit="file", disable=None, leave=False):
            try:
                with one_thread():
                    signal = read(number)
            except CodecError:
                continue  # reading it again when it is drawn tells why
            self[number].copy_(signal)
            self._held[number] = True

    @property
    def values(self) -> Tensor:
        """All signals one after the other, flat; not to be written to."""
        return self._values

    def shape(self, number: int) -> Shape:
        return self._shapes[number]

    def first(self, number: int) -> int:
        """Where among ``values`` a file's signal begins."""
        return int(self._ends[number]) - math.prod(self._shapes[number])

    def holds(self, number: int) -> bool:
        return bool(self._held[number])

    def __getitem__(self, number: int) -> Tensor:
        """The signal of a file that is held; a view, not to be written to."""
        shape, end = self._shapes[number], int(self._ends[number])
        return self._values[end - math.prod(shape) : end].view(shape)
