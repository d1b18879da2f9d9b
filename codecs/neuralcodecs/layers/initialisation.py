"""How fresh convolutions start: signals neither die nor grow on their way through a deep network.

torch's own start keeps a third of the variance per layer and adds biases: through a SEANet encoder speech of RMS .05
came out as latents with a standard deviation of 1.6e-4 around means of 4e-2, and 400 steps taught nothing of it. A
normal distribution of variance 1 / fan-in and zero biases keep it (https://arxiv.org/abs/1502.01852, without its factor
2: the activations here are near linear where the signal is).
"""

import math
from typing import TypeVar

import torch
from torch import nn

from neuralcodecs.layers.folded import ConvNd, ConvTransposeNd

SWISH_GAIN = 1.677
"""Of what follows a swish: 1 / sqrt(E[swish(x) ** 2]) for normal x."""
RELU_GAIN = math.sqrt(2)

ConvT = TypeVar("ConvT", bound=ConvNd | ConvTransposeNd)


@torch.no_grad()
def keep_variance(conv: ConvT, gain: float = 1.0) -> ConvT:
    """Draw the kernel so that the output's standard deviation is ``gain`` times the input's; biases become zero.

    Call it before a weight norm is put on the convolution. Returns the convolution.
    """
    taps = math.prod(conv.kernel_size)
    if conv.transposed:  # each output position meets one tap in stride
        taps //= math.prod(conv.stride)
    fan_in = conv.in_channels // conv.groups * max(taps, 1)
    conv.weight.normal_(std=gain / math.sqrt(fan_in))
    if conv.bias is not None:
        conv.bias.zero_()
    return conv


@torch.no_grad()
def identity(conv: ConvT) -> ConvT:
    """Make a convolution of kernel 1 pass its input through, channel by channel; returns it."""
    conv.weight.copy_(torch.eye(*conv.weight.shape[:2]).view_as(conv.weight))
    if conv.bias is not None:
        conv.bias.zero_()
    return conv


@torch.no_grad()
def linear(inputs: int, outputs: int, gain: float = 1.0) -> nn.Linear:
    """A fresh linear layer whose output's standard deviation is ``gain`` times the input's; its bias is zero."""
    layer = nn.Linear(inputs, outputs)
    layer.weight.normal_(std=gain / math.sqrt(inputs))
    layer.bias.zero_()
    return layer
