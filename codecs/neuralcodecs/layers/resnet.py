"""Residual block and attention of the VQGAN family (https://arxiv.org/abs/2012.09841; by default without bias, as in
Open-MAGVIT2, https://arxiv.org/abs/2409.04410), on any number of axes.

Every norm is called with the features and the latents that a decoder may condition it by.
"""

import math
from collections.abc import Callable

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.layers.conv import CONVS
from neuralcodecs.layers.initialisation import SWISH_GAIN, keep_variance
from neuralcodecs.layers.residual import BRANCH_GAIN

NormLayer = Callable[[int], nn.Module]
"""Channels to a module ``norm(features, latents)``."""


def group_norm(channels: int, affine: bool = True) -> nn.GroupNorm:
    """32 groups, or as many of at least 4 channels as divide them: a group of one would lose a signal of 1 x 1."""
    return nn.GroupNorm(math.gcd(32, max(1, channels // 4)), channels, eps=1e-6, affine=affine)


class PlainNorm(nn.Module):
    """Group norm that ignores the latents."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)

    def forward(
        self, x: Float[Tensor, "b c *space"], latents: Float[Tensor, "b d *grid"] | None = None
    ) -> Float[Tensor, "b c *space"]:
        return self.norm(x)


class NormResidualBlock(nn.Module):
    """[norm, swish, convolution of kernel 3] twice, plus the input (through a 1 x 1 where the channels change)."""

    def __init__(self, channels: int, out: int, axes: int, norm: NormLayer = PlainNorm, bias: bool = False) -> None:
        super().__init__()
        conv = CONVS[axes]
        self.norm1, self.norm2 = norm(channels), norm(out)
        self.conv1 = keep_variance(conv(channels, out, 3, padding=1, bias=bias), SWISH_GAIN)
        self.conv2 = keep_variance(conv(out, out, 3, padding=1, bias=bias), SWISH_GAIN * BRANCH_GAIN)
        self.shortcut = nn.Identity() if channels == out else keep_variance(conv(channels, out, 1, bias=bias))

    def forward(
        self, x: Float[Tensor, "b c *space"], latents: Float[Tensor, "b d *grid"] | None = None
    ) -> Float[Tensor, "b c2 *space"]:
        h = self.conv1(F.silu(self.norm1(x, latents)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(h, latents)))


class SpatialAttention(nn.Module):
    """Self-attention of one head over all positions, added to its input; its cost grows with the square of the area."""

    def __init__(self, channels: int, axes: int, norm: NormLayer = PlainNorm) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.project_in = keep_variance(CONVS[axes](channels, 3 * channels, 1))
        self.project_out = keep_variance(CONVS[axes](channels, channels, 1), BRANCH_GAIN)

    def forward(
        self, x: Float[Tensor, "b c *space"], latents: Float[Tensor, "b d *grid"] | None = None
    ) -> Float[Tensor, "b c *space"]:
        flat = self.project_in(self.norm(x, latents)).flatten(2)
        query, key, value = rearrange(flat, "b (three c) n -> three b 1 n c", three=3)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.project_out(rearrange(mixed, "b 1 n c -> b c n").reshape(x.shape))


def residual_stage(
    channels: int,
    out: int,
    blocks: int,
    axes: int,
    attention: bool = False,
    norm: NormLayer = PlainNorm,
    bias: bool = False,
) -> list[nn.Module]:
    """Residual blocks of one resolution, each followed by an attention if asked for."""
    layers: list[nn.Module] = []
    for block in range(blocks):
        layers.append(NormResidualBlock(channels if block == 0 else out, out, axes, norm, bias))
        if attention:
            layers.append(SpatialAttention(out, axes, norm))
    return layers


def residual_middle(
    channels: int,
    blocks: int,
    axes: int,
    attention: bool = False,
    norm: NormLayer = PlainNorm,
    bias: bool = False,
) -> list[nn.Module]:
    """Residual blocks of the lowest resolution; an attention follows the first if asked for."""
    first = residual_stage(channels, channels, min(blocks, 1), axes, attention, norm, bias)
    return first + residual_stage(channels, channels, blocks - 1, axes, False, norm, bias)
