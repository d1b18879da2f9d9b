"""Training crops cut on the device from a set that is held there: the host sends only where, and which gains."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from torch import Tensor

from neuralcodecs.audio.augment import Augmentation
from neuralcodecs.audio.dataset import AudioCrops
from neuralcodecs.cache import Cache
from neuralcodecs.errors import CodecError

MEMORY_SHARE = 0.5
"""Of a CUDA device's free memory, what the set may take."""
PLACE = 3
"""Numbers that say where a part is: its first sample among all, samples of its file, samples of it in the crop."""


class Place(NamedTuple):
    """A crop of a file that is held."""

    first: int
    stride: int
    """From one channel to the next."""
    present: int
    """Samples; the rest of the crop is zeros."""


class ResidentCrops:
    """What ``AudioCrops`` draws, in two halves: ``draw`` makes its choices, ``join`` what they say of a batch.

    The choices are the same; sums of a batch may be rounded otherwise than those of its examples.

    Args:
        crops: with a cache.
        device: where the set is to be.

    Raises:
        CodecError: the crops have no cache, the device no room, or the augmentation works on one crop at a time.
    """

    def __init__(self, crops: AudioCrops, device: torch.device) -> None:
        if crops.cache is None:
            raise CodecError("a training set that is held on the device is decoded first: set loading.cache to true")
        if crops.augmentation is not None:
            crops.augmentation.numbers(1, np.random.default_rng(0))  # says now whether it can
        self.crops, self.cache = crops, crops.cache
        self.shares, self.captions = crops.shares, crops.captions
        self.values = _moved(self.cache, device)
        self.span = torch.arange(crops.length, device=device)

    def draw(self, file: int, source: np.random.Generator) -> Float64[Tensor, "parts numbers"]:
        """Where each part of an example is, and the numbers that its augmentation draws for it."""
        files, starts = zip(*self.crops.choose(file, source), strict=True)
        places = np.array([self._place(*choice) for choice in zip(files, starts, strict=True)], np.float64)
        if self.crops.augmentation is None:
            return torch.from_numpy(places)
        drawn: NDArray[np.float64] = self.crops.augmentation.numbers(len(files), source)
        return torch.from_numpy(np.concatenate([places, drawn.T], axis=1))

    def join(self, plans: list[Float64[Tensor, "_ numbers"]]) -> Float[Tensor, "b c t"]:
        """The examples."""
        most = max(len(plan) for plan in plans)
        table = torch.stack([torch.cat([p, p.new_zeros(most - len(p), p.shape[1])]) for p in plans])
        device = self.values.device
        if device.type == "cuda":
            table = table.pin_memory().to(device, non_blocking=True)
        parts = self._cut(table[..., :PLACE].long())
        augmentation: Augmentation | None = self.crops.augmentation
        if augmentation is None:
            return parts[:, 0]
        return augmentation.together(parts, table[..., 2] > 0, table[..., PLACE:].transpose(1, 2).float())

    def _cut(self, places: Tensor) -> Float[Tensor, "b parts c t"]:
        first, stride, present = (column[..., None, None] for column in places.unbind(-1))
        channels = torch.arange(self.crops.channels, device=places.device)[:, None]
        index = first + channels * stride + torch.minimum(self.span, (present - 1).clamp(min=0))
        return self.values[index] * (self.span < present)

    def _place(self, file: int, start: int) -> Place:
        if not self.cache.holds(file):
            raise CodecError(f"{self.crops.audio[file].path}: could not be decoded when the run began")
        _, length = self.cache.shape(file)
        return Place(self.cache.first(file) + start, length, min(self.crops.length, length - start))


def _moved(cache: Cache, device: torch.device) -> Float[Tensor, " n"]:
    values = cache.values
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        need = values.numel() * values.element_size()
        if need > MEMORY_SHARE * free:
            raise CodecError(
                f"the training set takes {need / 2**30:.1f} GiB, the device has {free / 2**30:.1f} free: "
                "set loading.resident to false"
            )
    return values.to(device)
