"""Synthesis transform of MambaIC: the mirror image of its analysis (https://arxiv.org/abs/2503.12461)."""

import itertools

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Decoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import DepthToSpace, keep_variance
from neuralcodecs.layers.scan import ScanBlock


class ScannedDecoder(Decoder):
    """Latents to pictures: per stage a convolution of kernel 3 with depth to space, then scan blocks.

    Args:
        dim: of the latents.
        channels: of the signal.
        strides: equal, the power of two that the stages make.
        width: channels between.
        depths: scan blocks after each stage but the last.
        state: size of their state.

    Raises:
        CodecError: the stages do not make the strides.
    """

    def __init__(
        self,
        dim: int,
        channels: int,
        strides: Shape,
        width: int = 256,
        depths: tuple[int, ...] = (9, 2, 2),
        state: int = 16,
    ) -> None:
        super().__init__()
        made = 2 ** (len(depths) + 1)
        if tuple(strides) != (made, made):
            raise CodecError(f"{len(depths)} depths make strides of {made}, the encoder's are {tuple(strides)}")
        layers: list[nn.Module] = []
        widths = [dim, *[width] * len(depths), channels]
        for depth, (before, now) in zip((*depths, 0), itertools.pairwise(widths), strict=True):
            layers += [keep_variance(nn.Conv2d(before, now * 4, 3, padding=1)), DepthToSpace()]
            layers += [ScanBlock(now, state) for _ in range(depth)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Float[Tensor, "b d i j"]) -> Float[Tensor, "b c h w"]:
        return self.layers(latents)
