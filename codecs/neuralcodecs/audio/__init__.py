"""Audio edges: files, datasets, losses, discriminators, metrics."""

from neuralcodecs.audio.augment import GainAndMix
from neuralcodecs.audio.disturbance import PerceptualDisturbance
from neuralcodecs.audio.intelligibility import IntelligibilityLoss
from neuralcodecs.audio.losses import (
    CompressedSpectrum,
    EncodecMel,
    LogMel,
    MultiScaleMel,
    MultiScaleSTFT,
    NoiseToSignal,
    WaveformL1,
)
from neuralcodecs.audio.medium import Audio
from neuralcodecs.audio.mel import LogMelEncoder
from neuralcodecs.audio.patches import PatchEncoder
from neuralcodecs.audio.segments import OverlapAdd, RootMeanSquare

__all__ = [
    "Audio",
    "CompressedSpectrum",
    "EncodecMel",
    "GainAndMix",
    "IntelligibilityLoss",
    "LogMel",
    "LogMelEncoder",
    "MultiScaleMel",
    "MultiScaleSTFT",
    "NoiseToSignal",
    "OverlapAdd",
    "PatchEncoder",
    "PerceptualDisturbance",
    "RootMeanSquare",
    "WaveformL1",
]
