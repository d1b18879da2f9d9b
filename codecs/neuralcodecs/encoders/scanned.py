"""Analysis transform of MambaIC: strided convolutions and blocks of selective scans (https://arxiv.org/abs/2503.12461)."""

import itertools

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.layers import Conv, keep_variance, pad_to
from neuralcodecs.layers.scan import ScanBlock


class ScannedEncoder(Encoder):
    """Pictures to latents: convolution of kernel 5 that halves, then per stage scan blocks and one of kernel 3.

    The signal is first padded at its far ends to a multiple of the stride by repeating its last values.

    Args:
        channels: of the signal.
        dim: of the latents.
        width: channels between.
        depths: scan blocks of each stage after the first.
        state: size of their state.
    """

    def __init__(
        self,
        channels: int = 3,
        dim: int = 320,
        width: int = 256,
        depths: tuple[int, ...] = (2, 2, 9),
        state: int = 16,
    ) -> None:
        super().__init__()
        self.channels, self.dim = channels, dim
        self.strides = (2 ** (len(depths) + 1),) * 2
        layers: list[nn.Module] = [Conv(keep_variance(nn.Conv2d(channels, width, 5, stride=2)))]
        widths = [width] * len(depths) + [dim]
        for depth, (before, now) in zip(depths, itertools.pairwise(widths), strict=True):
            layers += [ScanBlock(before, state) for _ in range(depth)]
            layers.append(Conv(keep_variance(nn.Conv2d(before, now, 3, stride=2))))
        self.layers = nn.Sequential(*layers)

    def forward(self, signal: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        grid = self.frames(tuple(signal.shape[2:]))
        return self.layers(pad_to(signal, tuple(n * s for n, s in zip(grid, self.strides, strict=True))))

    def frames(self, shape: Shape) -> Shape:
        return tuple(-(-length // stride) for length, stride in zip(shape, self.strides, strict=True))
