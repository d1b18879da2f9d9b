"""Encoders."""

from neuralcodecs.encoders.contextual import ContextualEncoder
from neuralcodecs.encoders.dac import DACEncoder
from neuralcodecs.encoders.downsampled import DownsampledEncoder
from neuralcodecs.encoders.seanet import SEANetEncoder

__all__ = ["ContextualEncoder", "DACEncoder", "DownsampledEncoder", "SEANetEncoder"]
