"""Building blocks: tensor in, tensor out."""

from neuralcodecs.layers.conv import CONVS, Conv, Norm, PadMode, TransposedConv, pad, pad_to
from neuralcodecs.layers.initialisation import RELU_GAIN, SWISH_GAIN, identity, keep_variance, linear
from neuralcodecs.layers.lstm import ResidualLSTM
from neuralcodecs.layers.residual import BRANCH_GAIN, ResidualUnit
from neuralcodecs.layers.resnet import NormLayer, PlainNorm, group_norm, residual_middle, residual_stage
from neuralcodecs.layers.shuffle import DepthToSpace, SpaceToDepth
from neuralcodecs.layers.vit import EMBEDDING_STD, patch_grid, vit_blocks

__all__ = [
    "BRANCH_GAIN",
    "CONVS",
    "EMBEDDING_STD",
    "RELU_GAIN",
    "SWISH_GAIN",
    "Conv",
    "DepthToSpace",
    "Norm",
    "NormLayer",
    "PadMode",
    "PlainNorm",
    "ResidualLSTM",
    "ResidualUnit",
    "SpaceToDepth",
    "TransposedConv",
    "group_norm",
    "identity",
    "keep_variance",
    "linear",
    "pad",
    "pad_to",
    "patch_grid",
    "residual_middle",
    "residual_stage",
    "vit_blocks",
]
