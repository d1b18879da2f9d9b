"""Discriminators of waveform codecs."""

from neuralcodecs.audio.discriminators.dac import DACDiscriminator
from neuralcodecs.audio.discriminators.ms_stft import MultiScaleSTFTDiscriminator

__all__ = ["DACDiscriminator", "MultiScaleSTFTDiscriminator"]
