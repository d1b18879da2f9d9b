"""Audio edges: files, datasets, losses, discriminators, metrics."""

from neuralcodecs.audio.augment import GainAndMix
from neuralcodecs.audio.losses import EncodecMel, MultiScaleMel, MultiScaleSTFT, WaveformL1
from neuralcodecs.audio.medium import Audio
from neuralcodecs.audio.segments import OverlapAdd, RootMeanSquare

__all__ = [
    "Audio",
    "EncodecMel",
    "GainAndMix",
    "MultiScaleMel",
    "MultiScaleSTFT",
    "OverlapAdd",
    "RootMeanSquare",
    "WaveformL1",
]
