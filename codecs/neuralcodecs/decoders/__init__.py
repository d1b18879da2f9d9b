"""Decoders."""

from neuralcodecs.decoders.cnn import CNNDecoder
from neuralcodecs.decoders.conditioning import AdaptiveGroupNorm, SpatialNorm
from neuralcodecs.decoders.light import LightDecoder
from neuralcodecs.decoders.noise import NoiseDecoder
from neuralcodecs.decoders.seanet import SEANetDecoder
from neuralcodecs.decoders.vit import ViTDecoder

__all__ = [
    "AdaptiveGroupNorm",
    "CNNDecoder",
    "LightDecoder",
    "NoiseDecoder",
    "SEANetDecoder",
    "SpatialNorm",
    "ViTDecoder",
]
