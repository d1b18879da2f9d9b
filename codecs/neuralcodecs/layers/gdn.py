"""Divisive normalization across channels, the simplified form of exponent 1 (https://arxiv.org/abs/1912.08771)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.layers.conv import CONVS

SMALLEST = 1e-6


class GDN1(nn.Module):
    """``y = x / (beta + gamma |x|)``, gamma a matrix over the channels; beta and gamma are kept positive.

    Args:
        channels: of the signal.
        axes: of the signal after the channels.
        inverse: multiply instead of dividing (IGDN1), for decoders.
    """

    def __init__(self, channels: int, axes: int = 2, inverse: bool = False) -> None:
        super().__init__()
        if axes not in CONVS:
            raise ValueError(f"axes {axes}: give {', '.join(map(str, CONVS))}")
        self.axes, self.inverse = axes, inverse
        # square roots, so that a value of 0 can grow again
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(torch.sqrt(0.1 * torch.eye(channels) + SMALLEST))

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        gamma, beta = self.gamma.square(), self.beta.square() + SMALLEST
        weight = gamma.view(*gamma.shape, *(1,) * self.axes)
        norm = (F.conv1d, F.conv2d, F.conv3d)[self.axes - 1](x.abs(), weight.to(x), beta.to(x))
        return x * norm if self.inverse else x / norm
