"""Synthesis transforms of learned compression, from one linear layer to the published four.

Shallow ones: https://arxiv.org/abs/2304.06244. Four layers with IGDN: https://arxiv.org/abs/1809.02736.
"""

import itertools

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Decoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import DepthToSpace, keep_variance
from neuralcodecs.layers.bottleneck import bottlenecks
from neuralcodecs.layers.gdn import GDN1


class SynthesisDecoder(Decoder):
    """Latents to pictures: per stage what doubles, then what bends, but for the last.

    ``blocks=0``: transposed convolutions of kernel 5 and IGDN1, as published; otherwise convolutions of kernel 3 with
    depth to space, and residual bottlenecks.

    Args:
        dim: of the latents.
        channels: of the signal.
        strides: equal, the power of two that the stages make.
        channel_widths: channels after each stage but the last.
        blocks: residual bottlenecks after each of them; 0 bends by IGDN1 instead.

    Raises:
        CodecError: the stages do not make the strides.
    """

    def __init__(
        self,
        dim: int,
        channels: int,
        strides: Shape,
        channel_widths: tuple[int, ...] = (128, 128, 128),
        blocks: int = 0,
    ) -> None:
        super().__init__()
        made = 2 ** (len(channel_widths) + 1)
        if tuple(strides) != (made, made):
            raise CodecError(f"{len(channel_widths)} channel_widths make strides {made}, the encoder's are {strides}")
        layers: list[nn.Module] = []
        for before, now in itertools.pairwise([dim, *channel_widths, channels]):
            layers += _shuffled(before, now, blocks) if blocks else _transposed(before, now)
        del layers[-max(blocks, 1) :]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Float[Tensor, "b d i j"]) -> Float[Tensor, "b c h w"]:
        return self.layers(latents)


def _shuffled(before: int, now: int, blocks: int) -> list[nn.Module]:
    return [keep_variance(nn.Conv2d(before, now * 4, 3, padding=1)), DepthToSpace(), *bottlenecks(now, blocks)]


def _transposed(before: int, now: int) -> list[nn.Module]:
    grow = nn.ConvTranspose2d(before, now, 5, 2, padding=2, output_padding=1)
    return [keep_variance(grow), GDN1(now, inverse=True)]


class LinearDecoder(Decoder):
    """One transposed convolution, like the inverse transform of JPEG but with overlap: kernel 18 at stride 16.

    Args:
        dim: of the latents.
        channels: of the signal.
        strides: of the encoder, equal and even.
        overlap: pixels by which the kernel is larger than the stride, even.
    """

    def __init__(self, dim: int, channels: int, strides: Shape, overlap: int = 2) -> None:
        super().__init__()
        stride = _equal(strides)
        self.layer = nn.ConvTranspose2d(dim, channels, stride + overlap, stride, padding=overlap // 2)

    def forward(self, latents: Float[Tensor, "b d i j"]) -> Float[Tensor, "b c h w"]:
        return self.layer(latents)


class TwoLayerDecoder(Decoder):
    """A layer of kernel 13 at half the stride, bent by IGDN1 beside a linear one, then kernel 5 at stride 2.

    Args:
        dim: of the latents.
        channels: of the signal.
        strides: of the encoder, equal and even.
        hidden: channels between.
    """

    def __init__(self, dim: int, channels: int, strides: Shape, hidden: int = 12) -> None:
        super().__init__()
        stride = _equal(strides) // 2
        kernel = stride + 5
        # output_padding, so that each layer multiplies the length by its stride
        self.bent, self.straight = (
            nn.ConvTranspose2d(dim, hidden, kernel, stride, padding=3, output_padding=1) for _ in range(2)
        )
        self.norm = GDN1(hidden, inverse=True)
        self.last = nn.ConvTranspose2d(hidden, channels, 5, 2, padding=2, output_padding=1)

    def forward(self, latents: Float[Tensor, "b d i j"]) -> Float[Tensor, "b c h w"]:
        return self.last(self.norm(self.bent(latents)) + self.straight(latents))


def _equal(strides: Shape) -> int:
    if len(strides) != 2 or strides[0] != strides[1] or strides[0] % 2:
        raise CodecError(f"strides {tuple(strides)}: this decoder makes pictures of equal even strides")
    return strides[0]
