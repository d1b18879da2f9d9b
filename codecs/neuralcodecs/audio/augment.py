"""What is done to training crops of audio before the codec sees them."""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from neuralcodecs.errors import CodecError

ATTEMPTS = 10
"""Gains drawn before a mix that still clips is scaled down instead."""
MAX_BOOST = 1000.0
"""Normalisation lifts by at most 60 dB, so that digital silence stays silent."""


class Partners(NamedTuple):
    """How many further crops an example wants, and of which kind they must not be (None: any)."""

    number: int
    without: str | None = None


class Augmentation(ABC):
    """Makes one example of a crop and its partners; all randomness comes from the generator that is passed."""

    @abstractmethod
    def partners(self, kind: str, source: np.random.Generator) -> Partners:
        """What to mix with a crop of ``kind``."""

    @abstractmethod
    def __call__(self, parts: list[Float[Tensor, "c t"]], source: np.random.Generator) -> Float[Tensor, "c t"]:
        """The example: as long as the parts."""

    def numbers(self, parts: int, source: np.random.Generator) -> NDArray[np.float64]:
        """What ``__call__`` would draw for so many parts, ``(draws, parts)``; raises CodecError if it cannot say."""
        raise CodecError(f"{type(self).__name__} augments crops one by one: set loading.resident to false")

    def together(
        self, parts: Float[Tensor, "b p c t"], present: Bool[Tensor, "b p"], numbers: Float[Tensor, "b draws p"]
    ) -> Float[Tensor, "b c t"]:
        """What ``__call__`` makes of each example's parts, of which some are not ``present``, with its ``numbers``."""
        raise CodecError(f"{type(self).__name__} augments crops one by one: set loading.resident to false")


class GainAndMix(Augmentation):
    """EnCodec's recipe (https://arxiv.org/abs/2210.13438, 4.1) without reverberation.

    One crop alone, or with ``two`` probability a second of any source, or with ``three`` probability two more, none of
    the three being music (a music crop then stays alone). The paper also sets how often the single crop is music; here
    that follows from the sources' weights. Each part is brought to ``level_db`` and given a gain of its own; where
    their sum clips, other gains are drawn, and after 10 draws the sum is scaled down to 1.

    Args:
        two: probability of a mix of two.
        three: probability of a mix of three without music.
        gain_db: lowest and highest gain.
        level_db: root mean square of a part before its gain, relative to full scale. The paper normalises files; this
            normalises crops, because a file is never read whole.
    """

    def __init__(
        self,
        two: float = 0.24,
        three: float = 0.12,
        gain_db: tuple[float, float] = (-10.0, 6.0),
        level_db: float = -24.0,
    ) -> None:
        if not (two >= 0 and three >= 0 and two + three <= 1):
            raise CodecError(f"two {two}, three {three}: give probabilities with a sum of at most 1")
        if not -math.inf < gain_db[0] <= gain_db[1] < math.inf:
            raise CodecError(f"gain_db {gain_db}: give the lowest gain first")
        self.two = two
        self.three = three
        self.gain_db = gain_db
        self.level = 10 ** (level_db / 20)

    def partners(self, kind: str, source: np.random.Generator) -> Partners:
        drawn = source.random()
        if drawn < self.two:
            return Partners(1)
        if drawn < self.two + self.three and kind != "music":
            return Partners(2, without="music")
        return Partners(0)

    def __call__(self, parts: list[Float[Tensor, "c t"]], source: np.random.Generator) -> Float[Tensor, "c t"]:
        stacked = torch.stack(parts)
        loudness = stacked.square().mean(dim=(1, 2), keepdim=True).sqrt()
        stacked = stacked * (self.level / loudness.clamp(min=self.level / MAX_BOOST))
        for _ in range(ATTEMPTS):
            decibels = torch.from_numpy(source.uniform(*self.gain_db, size=len(parts))).float()
            mixed = (stacked * (10 ** (decibels / 20)).view(-1, 1, 1)).sum(dim=0)
            peak = mixed.abs().max()
            if peak <= 1:
                return mixed
        return mixed / peak

    def numbers(self, parts: int, source: np.random.Generator) -> NDArray[np.float64]:
        return source.uniform(*self.gain_db, size=(ATTEMPTS, parts))

    def together(
        self, parts: Float[Tensor, "b p c t"], present: Bool[Tensor, "b p"], numbers: Float[Tensor, "b draws p"]
    ) -> Float[Tensor, "b c t"]:
        loudness = parts.square().mean(dim=(2, 3)).sqrt()
        level = self.level / loudness.clamp(min=self.level / MAX_BOOST) * present
        gains = 10 ** (numbers / 20) * level[:, None]
        # all draws at once: asking which is the first that does not clip would make the host wait
        mixed = torch.stack([gains[:, :, p, None, None] * parts[:, p, None] for p in range(parts.shape[1])]).sum(0)
        peaks = mixed.abs().amax(dim=(2, 3))
        fits = peaks <= 1
        chosen = torch.where(fits.any(1), fits.int().argmax(1), ATTEMPTS - 1)
        rows = torch.arange(len(parts), device=parts.device)
        scale = torch.where(fits.any(1), 1.0, peaks[rows, chosen])
        return mixed[rows, chosen] / scale[:, None, None]
