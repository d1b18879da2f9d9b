"""Training and validation crops of audio files, read by seeking or held in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from neuralcodecs.audio import files
from neuralcodecs.audio.augment import Augmentation
from neuralcodecs.audio.resample import resampled_length
from neuralcodecs.cache import Cache
from neuralcodecs.sources import Entry, survey


class AudioFile(NamedTuple):
    """A file whose header was read. ``length``: samples at the codec's rate."""

    path: Path
    weight: float
    kind: str
    length: int


def scan(entries: Sequence[Entry], sample_rate: int) -> tuple[list[AudioFile], list[str]]:
    """Read the headers of all files: those that can be used, and one line for each that cannot."""

    def look(entry: Entry) -> AudioFile:
        info = files.info(entry.path)
        return AudioFile(*entry, resampled_length(info.shape[0], info.rate, sample_rate))

    return survey(entries, look)


class AudioCrops:
    """Random crops of ``length`` samples, ``(channels, length)``.

    A file is drawn in proportion to its weight and its length, one of less than a crop as if it had a crop's length;
    such a short file is padded with zeros at its end. Where a crop starts, every sample of a file is equally likely.

    Args:
        audio: what may be drawn.
        sample_rate: of the crops, in Hz.
        channels: of the crops.
        length: of the crops, in samples.
        augmentation: made of each crop, None for nothing.
        cache: decode all files now and hold them: 4 bytes per sample and channel, in every process of a DDP run.

    Raises:
        CodecError: what is to be held needs more than half of the machine's memory.
    """

    def __init__(
        self,
        audio: Sequence[AudioFile],
        sample_rate: int,
        channels: int,
        length: int,
        augmentation: Augmentation | None = None,
        cache: bool = False,
    ) -> None:
        self.audio = audio
        self.sample_rate = sample_rate
        self.channels = channels
        self.length = length
        self.augmentation = augmentation
        self.captions: Sequence[bytes] = ()
        self.shares: NDArray[np.float64] = np.array([f.weight * max(f.length / length, 1.0) for f in audio])
        self._kinds = np.array([f.kind for f in audio])
        self._bounds: dict[str | None, NDArray[np.float64]] = {}
        self.cache: Cache | None = None
        if cache:
            shapes = [(channels, file.length) for file in audio]
            self.cache = Cache(shapes, torch.float32, lambda n: files.read(audio[n].path, sample_rate, channels)[0])

    def draw(self, file: int, source: np.random.Generator) -> Float[Tensor, "c t"]:
        """An example that begins with a crop of ``file``; a function of the two arguments.

        Raises:
            CodecError: this file, or one that it is mixed with, cannot be read.
        """
        crops = [self._crop(*choice) for choice in self.choose(file, source)]
        return crops[0] if self.augmentation is None else self.augmentation(crops, source)

    def choose(self, file: int, source: np.random.Generator) -> list[tuple[int, int]]:
        """File and first sample of each part of an example, the first being of ``file``."""
        chosen = [(file, self._start(file, source))]
        if self.augmentation is not None:
            number, without = self.augmentation.partners(self.audio[file].kind, source)
            for _ in range(number):
                other = self._other(without, source)
                chosen.append((other, self._start(other, source)))
        return chosen

    def _start(self, file: int, source: np.random.Generator) -> int:
        return int(source.integers(max(self.audio[file].length - self.length, 0) + 1))

    def _crop(self, file: int, start: int) -> Float[Tensor, "c t"]:
        if self.cache is not None and self.cache.holds(file):
            span = self.cache[file][:, start : start + self.length]
            return F.pad(span, (0, self.length - span.shape[-1]))
        return files.read_span(self.audio[file].path, start, self.length, self.sample_rate, self.channels)

    def _other(self, without: str | None, source: np.random.Generator) -> int:
        if without not in self._bounds:
            allowed = np.ones(len(self.audio), bool) if without is None else self._kinds != without
            self._bounds[without] = np.cumsum(self.shares * allowed)
        bounds = self._bounds[without]
        return min(int(np.searchsorted(bounds, source.random() * bounds[-1], side="right")), len(self.audio) - 1)


class AudioCentres(Dataset[Tensor]):
    """The middle of each file, at most ``length`` samples of it: the same at every validation of every run."""

    def __init__(self, audio: Sequence[AudioFile], sample_rate: int, channels: int, length: int) -> None:
        self.audio = audio
        self.sample_rate = sample_rate
        self.channels = channels
        self.length = length

    def __len__(self) -> int:
        return len(self.audio)

    def __getitem__(self, index: int) -> Float[Tensor, "c t"]:
        path, *_, total = self.audio[index]
        length = min(total, self.length)
        return files.read_span(path, (total - length) // 2, length, self.sample_rate, self.channels)
