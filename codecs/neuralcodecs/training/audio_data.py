"""Audio for training: folders and manifests of files as batches of crops."""

from typing import cast

from torch import Tensor
from torch.utils.data import Dataset

from neuralcodecs.audio.augment import Augmentation
from neuralcodecs.audio.dataset import AudioCentres, AudioCrops, scan
from neuralcodecs.audio.medium import Audio
from neuralcodecs.audio.resident import ResidentCrops
from neuralcodecs.errors import CodecError
from neuralcodecs.sources import Entry, Source
from neuralcodecs.training.data import Examples, Loading, SignalDataModule
from neuralcodecs.training.stream import Join

VALIDATION_SECONDS = 10.0
"""Longest part of a file that is validated: its middle."""
DEFAULT_LOADING = Loading()


class AudioDataModule(SignalDataModule):
    """Random crops for training, the middle of each file for validation.

    Args:
        train: folders, manifests, or ``Source`` objects with weight, kind and split.
        val: the same; also what ``test`` runs on.
        sample_rate: of the codec, in Hz.
        channels: of the codec.
        segment_seconds: length of a training crop.
        batch_size: crops per process and step. Validation takes as many files as make about as much sound.
        augmentation: what is done to the crops; None for nothing.
        loading: workers, seed, cache, tolerance of bad files.
    """

    unit = "seconds"
    suffixes = Audio.suffixes

    def __init__(
        self,
        train: list[str | Source],
        val: list[str | Source],
        sample_rate: int = 24000,
        channels: int = 1,
        segment_seconds: float = 1.0,
        batch_size: int = 16,
        augmentation: Augmentation | None = None,
        loading: Loading = DEFAULT_LOADING,
    ) -> None:
        super().__init__(train, val, batch_size, loading)
        self.medium = Audio(sample_rate, channels)
        self.length = round(segment_seconds * sample_rate)
        if self.length < 1:
            raise CodecError(f"segment_seconds {segment_seconds}: give a length above 0")
        self.augmentation = augmentation

    def training_examples(self, found: list[Entry]) -> tuple[Examples, list[str]]:
        rate, channels = self.medium.rate, self.medium.channels
        audio, failed = scan(found, rate)
        self.stop_if_none(len(audio), failed)
        return AudioCrops(audio, rate, channels, self.length, self.augmentation, self.loading.cache), failed

    def resident(self, examples: Examples) -> tuple[Examples, Join]:
        held = ResidentCrops(cast(AudioCrops, examples), self.device)
        return held, held.join

    def validation_examples(self, found: list[Entry]) -> tuple[Dataset[Tensor], list[str]]:
        audio, failed = scan(found, self.medium.rate)
        longest = round(VALIDATION_SECONDS * self.medium.rate)
        centres = AudioCentres(audio, self.medium.rate, self.medium.channels, longest)
        usable, broken = self.readable(list(range(len(audio))), centres.__getitem__)
        failed += broken
        self.stop_if_none(len(usable), failed)
        readable = [audio[number] for number in usable]
        return AudioCentres(readable, self.medium.rate, self.medium.channels, longest), failed

    def extent(self, shape: tuple[int, ...]) -> float:
        """Seconds."""
        return self.medium.extent(shape)

    @property
    def validation_batch_size(self) -> int:
        return max(1, round(self.batch_size * self.length / (VALIDATION_SECONDS * self.medium.rate)))
