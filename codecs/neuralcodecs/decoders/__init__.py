"""Decoders."""

from neuralcodecs.decoders.cnn import CNNDecoder
from neuralcodecs.decoders.conditioning import AdaptiveGroupNorm, SpatialNorm
from neuralcodecs.decoders.contextual import ContextualDecoder
from neuralcodecs.decoders.dac import DACDecoder
from neuralcodecs.decoders.light import LightDecoder
from neuralcodecs.decoders.noise import NoiseDecoder
from neuralcodecs.decoders.scanned import ScannedDecoder
from neuralcodecs.decoders.seanet import SEANetDecoder
from neuralcodecs.decoders.synthesis import LinearDecoder, SynthesisDecoder, TwoLayerDecoder
from neuralcodecs.decoders.upsampled import UpsampledDecoder
from neuralcodecs.decoders.vit import ViTDecoder

__all__ = [
    "AdaptiveGroupNorm",
    "CNNDecoder",
    "ContextualDecoder",
    "DACDecoder",
    "LightDecoder",
    "LinearDecoder",
    "NoiseDecoder",
    "SEANetDecoder",
    "ScannedDecoder",
    "SpatialNorm",
    "SynthesisDecoder",
    "TwoLayerDecoder",
    "UpsampledDecoder",
    "ViTDecoder",
]
