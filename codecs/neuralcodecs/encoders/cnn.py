"""CNN encoder of the VQGAN family, as in Open-MAGVIT2 and WeTok (https://arxiv.org/abs/2508.05599, appendix)."""

import itertools

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import (
    CONVS,
    SWISH_GAIN,
    Conv,
    PlainNorm,
    SpaceToDepth,
    keep_variance,
    pad_to,
    residual_middle,
    residual_stage,
)


class CNNEncoder(Encoder):
    """Signal of any size to latents of ``ceil(n / stride)`` positions per axis, stride being ``2 ** (levels - 1)``.

        Conv 3 -> per level [blocks, Conv 3 / 2 but for the last] -> blocks -> norm, swish, Conv 1

    The signal is first padded at its far ends to a multiple of the stride by repeating its last values; the decoder
    makes them too and the codec cuts them off. Fresh weights keep the variance of the signal.

    WeTok 192x: ``dim=32, width=256, multipliers=(1, 1, 2, 2, 4), blocks=4``; 24x: ``dim=64, multipliers=(1, 2, 2, 4)``.
    VQGAN f16: ``dim=256, width=128, multipliers=(1, 1, 2, 2, 4), attention=1``.

    Args:
        channels: of the signal.
        dim: of the latents.
        width: channels after the first convolution.
        multipliers: of the width, one per level.
        blocks: residual blocks per level and after the last one.
        attention: lowest levels with an attention after every block; any also puts one after the first block below.
        space_to_depth: halve by blocks of neighbours and a convolution of kernel 1, instead of a strided convolution.
        axes: of the signal: 1 for sound, 2 for pictures, 3 for clips.
    """

    def __init__(
        self,
        channels: int = 3,
        dim: int = 32,
        width: int = 128,
        multipliers: tuple[int, ...] = (1, 1, 2, 2, 4),
        blocks: int = 2,
        attention: int = 0,
        space_to_depth: bool = False,
        axes: int = 2,
    ) -> None:
        super().__init__()
        check_levels(multipliers, attention, axes)
        self.channels, self.dim = channels, dim
        self.strides = (2 ** (len(multipliers) - 1),) * axes
        down = _shuffled if space_to_depth else _strided
        widths = [width * m for m in multipliers]
        layers: list[nn.Module] = [keep_variance(CONVS[axes](channels, width, 3, padding=1, bias=False))]
        for level, (before, now) in enumerate(itertools.pairwise([width, *widths])):
            attentive = level >= len(widths) - attention
            layers += residual_stage(before, now, blocks, axes, attentive)
            if level < len(widths) - 1:
                layers.append(down(now, axes))
        layers += residual_middle(widths[-1], blocks, axes, attention > 0)
        last = keep_variance(CONVS[axes](widths[-1], dim, 1), SWISH_GAIN)
        self.layers = nn.Sequential(*layers, PlainNorm(widths[-1]), nn.SiLU(), last)

    def forward(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b d *grid"]:
        grid = self.frames(tuple(signal.shape[2:]))
        return self.layers(pad_to(signal, tuple(n * s for n, s in zip(grid, self.strides, strict=True))))

    def frames(self, shape: Shape) -> Shape:
        return tuple(-(-length // stride) for length, stride in zip(shape, self.strides, strict=True))


def check_levels(multipliers: tuple[int, ...], attention: int, axes: int) -> None:
    """Raises CodecError for an encoder or decoder that cannot be."""
    if axes not in CONVS:
        raise CodecError(f"axes {axes}: give {', '.join(map(str, CONVS))}")
    if not multipliers or min(multipliers) < 1:
        raise CodecError(f"multipliers {multipliers}: give one of at least 1 per level")
    if not 0 <= attention <= len(multipliers):
        raise CodecError(f"attention {attention}: give how many of the {len(multipliers)} levels have it")


def _strided(width: int, axes: int) -> nn.Module:
    return Conv(keep_variance(CONVS[axes](width, width, 3, stride=2)))


def _shuffled(width: int, axes: int) -> nn.Module:
    return nn.Sequential(SpaceToDepth(), keep_variance(CONVS[axes](width * 2**axes, width, 1)))
