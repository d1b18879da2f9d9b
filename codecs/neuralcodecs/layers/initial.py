"""Initialisation that keeps the variance of a signal of independent unit values, for networks of any depth."""

import math
from typing import TypeVar

from torch import nn

Layer = TypeVar("Layer", bound=nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear)

SWISH_GAIN = 1.677
"""1 / sqrt(E[swish(x) ** 2]) for normal x."""
RELU_GAIN = math.sqrt(2)
BRANCH_GAIN = 1 / 3
"""Of the last layer of a residual branch: a block adds a ninth of a unit of variance, and none of its layers is idle."""


def unit_variance(layer: Layer, gain: float = 1.0) -> Layer:
    """The layer with weights N(0, gain² / fan_in) and zero bias: torch's own are smaller by sqrt(3), layer after layer."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
