"""Building blocks: tensor in, tensor out."""

from neuralcodecs.layers.conv import CONVS, Conv, Norm, TransposedConv
from neuralcodecs.layers.initialisation import RELU_GAIN, SWISH_GAIN, identity, keep_variance, linear
from neuralcodecs.layers.lstm import ResidualLSTM
from neuralcodecs.layers.padding import PadMode, pad, pad_to
from neuralcodecs.layers.residual import BRANCH_GAIN, ResidualUnit
from neuralcodecs.layers.resnet import NormLayer, PlainNorm, group_norm, residual_middle, residual_stage
from neuralcodecs.layers.shuffle import DepthToSpace, SpaceToDepth
from neuralcodecs.layers.streamed import ELU, Chain, Identity, Pointwise, State, Streamed, through
from neuralcodecs.layers.vit import EMBEDDING_STD, patch_grid, vit_blocks

__all__ = [
    "BRANCH_GAIN",
    "CONVS",
    "ELU",
    "EMBEDDING_STD",
    "RELU_GAIN",
    "SWISH_GAIN",
    "Chain",
    "Conv",
    "DepthToSpace",
    "Identity",
    "Norm",
    "NormLayer",
    "PadMode",
    "PlainNorm",
    "Pointwise",
    "ResidualLSTM",
    "ResidualUnit",
    "SpaceToDepth",
    "State",
    "Streamed",
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
    "through",
    "vit_blocks",
]
