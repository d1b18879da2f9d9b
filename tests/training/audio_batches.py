"""Data modules on the samples, and batches as hashes, for the tests of data."""

import hashlib
import itertools
from typing import Any

from conftest import SAMPLES

from neuralcodecs.audio.augment import GainAndMix
from neuralcodecs.training.audio_data import AudioDataModule
from neuralcodecs.training.data import Batch, Loading

TRAIN, VAL = str(SAMPLES / "speech" / "train"), str(SAMPLES / "speech" / "val")
IN_PROCESS = Loading(workers=0)


def make_data(loading: Loading = IN_PROCESS, train: list[Any] | None = None, **settings: Any) -> AudioDataModule:
    settings = {"segment_seconds": 0.2, "batch_size": 4, "augmentation": GainAndMix()} | settings
    return AudioDataModule(train or [TRAIN], [VAL], loading=loading, **settings)


def take(data: AudioDataModule, number: int) -> list[Batch]:
    data.setup("fit")
    return list(itertools.islice(data.train_dataloader(), number))


def hashes(batches: list[Batch]) -> list[tuple[str, int, int]]:
    return [(hashlib.sha256(b.signal.numpy().tobytes()).hexdigest(), b.index, b.seed) for b in batches]
