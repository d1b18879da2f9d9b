"""Decoders."""

from neuralcodecs.decoders.cnn import CNNDecoder
from neuralcodecs.decoders.conditioning import AdaptiveGroupNorm, SpatialNorm
from neuralcodecs.decoders.contextual import ContextualDecoder
from neuralcodecs.decoders.dac import DACDecoder
from neuralcodecs.decoders.dit import DiT
from neuralcodecs.decoders.flow import FlowDecoder
from neuralcodecs.decoders.light import LightDecoder
from neuralcodecs.decoders.noise import NoiseDecoder
from neuralcodecs.decoders.seanet import SEANetDecoder
from neuralcodecs.decoders.unet import UNet
from neuralcodecs.decoders.upsampled import UpsampledDecoder
from neuralcodecs.decoders.vit import ViTDecoder

__all__ = [
    "AdaptiveGroupNorm",
    "CNNDecoder",
    "ContextualDecoder",
    "DACDecoder",
    "DiT",
    "FlowDecoder",
    "LightDecoder",
    "NoiseDecoder",
    "SEANetDecoder",
    "SpatialNorm",
    "UNet",
    "UpsampledDecoder",
    "ViTDecoder",
]
