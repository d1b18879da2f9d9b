"""Light decoder of TAESD's shape, for swapping in behind a trained encoder (https://github.com/madebyollin/taesd)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.codec import Decoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import BRANCH_GAIN, CONVS, RELU_GAIN, keep_variance


class LightDecoder(Decoder):
    """Latents to a signal by few channels and no norm; local, so cheap on any processor. Not clamped.

        3 tanh(x / 3) -> Conv 3, ReLU -> per doubling [blocks, repeat, Conv 3 without bias] -> one block -> Conv 3

    1,222,531 parameters for 4 latent channels and strides of 8. An axis of smaller stride is doubled in the last
    stages only. Fresh weights keep the variance (unit latents give TAESD's size outputs of
    standard deviation 1.8; torch's own weights 0.03).

    Args:
        dim: of the latents.
        channels: of the signal.
        strides: powers of two, any per axis.
        width: channels inside.
        blocks: residual blocks before each doubling.

    Raises:
        CodecError: a stride is no power of two.
    """

    def __init__(self, dim: int, channels: int, strides: Shape, width: int = 64, blocks: int = 3) -> None:
        super().__init__()
        if len(strides) not in CONVS or any(s < 1 or s & (s - 1) for s in strides):
            raise CodecError(f"strides {tuple(strides)}: the light decoder takes powers of two on 1 to 3 axes")
        conv, axes = CONVS[len(strides)], len(strides)
        doublings = [stride.bit_length() - 1 for stride in strides]
        stages = max(doublings)
        layers: list[nn.Module] = [keep_variance(conv(dim, width, 3, padding=1)), nn.ReLU()]
        for stage in range(stages):
            factors = tuple(2 if stages - stage <= n else 1 for n in doublings)
            layers += [_Block(width, axes) for _ in range(blocks)]
            layers += [_Repeat(factors), keep_variance(conv(width, width, 3, padding=1, bias=False), RELU_GAIN)]
        layers += [_Block(width, axes), keep_variance(conv(width, channels, 3, padding=1), RELU_GAIN)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b c *space"]:
        return self.layers(3 * torch.tanh(latents / 3))


class _Block(nn.Module):
    """Three convolutions of kernel 3 with ReLU between, plus the input, ReLU."""

    def __init__(self, width: int, axes: int) -> None:
        super().__init__()
        first, second, third = (CONVS[axes](width, width, 3, padding=1) for _ in range(3))
        self.layers = nn.Sequential(
            keep_variance(first, RELU_GAIN),
            nn.ReLU(),
            keep_variance(second, RELU_GAIN),
            nn.ReLU(),
            keep_variance(third, RELU_GAIN * BRANCH_GAIN),
        )

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        return F.relu(x + self.layers(x))


class _Repeat(nn.Module):
    """Repeats positions along each axis."""

    def __init__(self, factors: tuple[int, ...]) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b c *space"]:
        for axis, factor in enumerate(self.factors, 2):
            x = x.repeat_interleave(factor, dim=axis)
        return x
