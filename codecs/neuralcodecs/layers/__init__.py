"""Building blocks: tensor in, tensor out."""

from neuralcodecs.layers.conv import CONVS, Conv, Norm, PadMode, TransposedConv, pad
from neuralcodecs.layers.initial import BRANCH_GAIN, RELU_GAIN, SWISH_GAIN, unit_variance
from neuralcodecs.layers.lstm import ResidualLSTM
from neuralcodecs.layers.residual import ResidualUnit
from neuralcodecs.layers.resnet import NormLayer, NormResidualBlock, PlainNorm, SpatialAttention, group_norm
from neuralcodecs.layers.shuffle import DepthToSpace, SpaceToDepth
from neuralcodecs.layers.transformer import transformer

__all__ = [
    "BRANCH_GAIN",
    "CONVS",
    "RELU_GAIN",
    "SWISH_GAIN",
    "Conv",
    "DepthToSpace",
    "Norm",
    "NormLayer",
    "NormResidualBlock",
    "PadMode",
    "PlainNorm",
    "ResidualLSTM",
    "ResidualUnit",
    "SpaceToDepth",
    "SpatialAttention",
    "TransposedConv",
    "group_norm",
    "pad",
    "transformer",
    "unit_variance",
]
