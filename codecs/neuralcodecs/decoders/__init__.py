"""Decoders."""

from neuralcodecs.decoders.contextual import ContextualDecoder
from neuralcodecs.decoders.dac import DACDecoder
from neuralcodecs.decoders.seanet import SEANetDecoder
from neuralcodecs.decoders.upsampled import UpsampledDecoder

__all__ = ["ContextualDecoder", "DACDecoder", "SEANetDecoder", "UpsampledDecoder"]
