"""The periodic activation of DAC and its residual unit (https://arxiv.org/abs/2306.06546, 3.1; Snake: 2006.08195)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.layers.conv import Conv, ConvNd, TransposedConv

TINY = 1e-9  # the published guard against a frequency of 0


class Snake(nn.Module):
    """``x + sin(alpha x)^2 / alpha`` on any number of axes, ``alpha`` being learned per channel and 1 at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        alpha = self.alpha.view(-1, *(1,) * (x.ndim - 2))
        return x + (alpha + TINY).reciprocal() * torch.sin(alpha * x).square()


class SnakeUnit(nn.Module):
    """Snake, dilated convolution of kernel 7, Snake, convolution of kernel 1, plus the input ``(b, channels, t)``."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            Snake(channels),
            same(nn.Conv1d(channels, channels, 7, dilation=dilation)),
            Snake(channels),
            same(nn.Conv1d(channels, channels, 1)),
        )

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b c t"]:
        return x + self.block(x)


def same(conv: ConvNd) -> Conv:
    """DAC's convolution: zeros on both sides, weight norm, biases 0 at first.

    Weights start from torch's default. The published code draws them from a truncated normal of deviation .02, but into
    a tensor that its weight norm computes anew at every forward; drawn for real, all codebooks shrink to one code
    within 20 steps (of 16 filters, at the published rate).
    """
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return Conv(conv, norm="weight_norm")


class Upsample(nn.Module):
    """A transposed convolution of kernel 2s; n positions become n * s, one less where the stride s is odd.

    The missing last position is that of the published layer, which cuts ceil(s / 2) on both sides.
    """

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv = TransposedConv(nn.ConvTranspose1d(inside, outside, 2 * stride, stride), norm="weight_norm")
        self.surplus = stride % 2

    def forward(self, x: Float[Tensor, "b c n"]) -> Float[Tensor, "b d t"]:
        output = self.conv(x)
        return output[..., : output.shape[-1] - self.surplus]
