"""Building blocks: tensor in, tensor out."""

from neuralcodecs.layers.conv import Conv, Norm, PadMode, TransposedConv, pad
from neuralcodecs.layers.initialisation import identity, keep_variance
from neuralcodecs.layers.lstm import ResidualLSTM
from neuralcodecs.layers.residual import ResidualUnit

__all__ = [
    "Conv",
    "Norm",
    "PadMode",
    "ResidualLSTM",
    "ResidualUnit",
    "TransposedConv",
    "identity",
    "keep_variance",
    "pad",
]
