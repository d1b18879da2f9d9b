"""Decoders."""

from neuralcodecs.decoders.caption import CaptionTokens, Uncaptioned
from neuralcodecs.decoders.cnn import CNNDecoder
from neuralcodecs.decoders.condition import Pooled, Pyramid, Together, Tokens, UpsampledMap
from neuralcodecs.decoders.conditioning import AdaptiveGroupNorm, SpatialNorm
from neuralcodecs.decoders.contextual import ContextualDecoder
from neuralcodecs.decoders.dac import DACDecoder
from neuralcodecs.decoders.dit import DiT
from neuralcodecs.decoders.flow import FlowDecoder
from neuralcodecs.decoders.framewise import CausalPyramid, Framewise
from neuralcodecs.decoders.kl import KLDecoder
from neuralcodecs.decoders.light import LightDecoder
from neuralcodecs.decoders.network import Network
from neuralcodecs.decoders.noise import NoiseDecoder
from neuralcodecs.decoders.process import (
    Cosine,
    Data,
    EqualWeight,
    Linear,
    LogitNormalTimes,
    MinSNR,
    Noise,
    Process,
    Rotation,
    UniformTimes,
    Velocity,
)
from neuralcodecs.decoders.scanned import ScannedDecoder
from neuralcodecs.decoders.seanet import SEANetDecoder
from neuralcodecs.decoders.solvers import DDIM, ClassifierFree, Embedded, Euler, Heun, Sampler, TwoPhase
from neuralcodecs.decoders.space import CodecSpace, FoldedSpace, LatentSpace, SignalSpace
from neuralcodecs.decoders.synthesis import LinearDecoder, SynthesisDecoder, TwoLayerDecoder
from neuralcodecs.decoders.unet import UNet
from neuralcodecs.decoders.upsampled import UpsampledDecoder
from neuralcodecs.decoders.vit import ViTDecoder
from neuralcodecs.decoders.vocos import VocosDecoder

__all__ = [
    "DDIM",
    "AdaptiveGroupNorm",
    "CNNDecoder",
    "CaptionTokens",
    "CausalPyramid",
    "ClassifierFree",
    "CodecSpace",
    "ContextualDecoder",
    "Cosine",
    "DACDecoder",
    "Data",
    "DiT",
    "Embedded",
    "EqualWeight",
    "Euler",
    "FlowDecoder",
    "FoldedSpace",
    "Framewise",
    "Heun",
    "KLDecoder",
    "LatentSpace",
    "LightDecoder",
    "Linear",
    "LinearDecoder",
    "LogitNormalTimes",
    "MinSNR",
    "Network",
    "Noise",
    "NoiseDecoder",
    "Pooled",
    "Process",
    "Pyramid",
    "Rotation",
    "SEANetDecoder",
    "Sampler",
    "ScannedDecoder",
    "SignalSpace",
    "SpatialNorm",
    "SynthesisDecoder",
    "Together",
    "Tokens",
    "TwoLayerDecoder",
    "TwoPhase",
    "UNet",
    "Uncaptioned",
    "UniformTimes",
    "UpsampledDecoder",
    "UpsampledMap",
    "Velocity",
    "ViTDecoder",
    "VocosDecoder",
]
