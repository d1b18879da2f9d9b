"""Analysis transform of learned compression: strided convolutions with divisive normalization or residual blocks.

https://arxiv.org/abs/1809.02736 (GDN) and https://arxiv.org/abs/2203.10886 (residual bottlenecks, ELIC).
"""

import itertools

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import Conv, keep_variance, pad_to
from neuralcodecs.layers.bottleneck import bottlenecks
from neuralcodecs.layers.gdn import GDN1


class AnalysisEncoder(Encoder):
    """Pictures to latents: per stage a convolution of kernel 5 that halves, then what bends.

        Conv 5 / 2 -> bend -> Conv 5 / 2 -> bend -> ... -> Conv 5 / 2

    ``blocks=0`` bends by GDN1; otherwise by so many residual bottlenecks. The signal is first padded at its far ends to
    a multiple of the stride by repeating its last values. Fresh weights keep the variance of the signal.

    Args:
        channels: of the signal.
        dim: of the latents.
        channel_widths: channels after each stage but the last.
        blocks: residual bottlenecks after each of them.
    """

    def __init__(
        self, channels: int = 3, dim: int = 192, channel_widths: tuple[int, ...] = (128, 128, 128), blocks: int = 0
    ) -> None:
        super().__init__()
        if not channel_widths:
            raise CodecError("channel_widths is empty: give one per stage but the last")
        self.channels, self.dim = channels, dim
        self.strides = (2 ** (len(channel_widths) + 1),) * 2
        layers: list[nn.Module] = []
        for before, now in itertools.pairwise([channels, *channel_widths, dim]):
            layers.append(Conv(keep_variance(nn.Conv2d(before, now, 5, stride=2))))
            layers += bottlenecks(now, blocks) if blocks else [GDN1(now)]
        del layers[-max(blocks, 1) :]
        self.layers = nn.Sequential(*layers)

    def forward(self, signal: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        grid = self.frames(tuple(signal.shape[2:]))
        return self.layers(pad_to(signal, tuple(n * s for n, s in zip(grid, self.strides, strict=True))))

    def frames(self, shape: Shape) -> Shape:
        return tuple(-(-length // stride) for length, stride in zip(shape, self.strides, strict=True))
