"""Encoder of the KL autoencoders behind latent diffusion (https://arxiv.org/abs/2112.10752), Stable Diffusion's among
them: ``convert.from_autoencoder_kl`` loads published weights.
"""

import itertools

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.encoders.cnn import check_levels
from neuralcodecs.layers import (
    CONVS,
    SWISH_GAIN,
    PlainNorm,
    identity,
    keep_variance,
    pad_to,
    residual_middle,
    residual_stage,
)

AXES = 2


class KLEncoder(Encoder):
    """Pictures of any size to the means of latents, ``2 ** (levels - 1)`` pixels to a position.

        Conv 3 -> per level [blocks, Conv 3 / 2 but for the last] -> block, attention, block -> norm, swish, Conv 3
        -> Conv 1

    A picture is first padded to whole positions by repeating its last values. The published networks also say a
    variance, from which the training of a generative decoder may draw; here the mean stands for the picture.

    Stable Diffusion 1 and 2: the defaults; latents have a standard deviation of about 1 / 0.18215.

    Args:
        channels: of the picture.
        dim: of the latents.
        widths: channels of each level, the finest first.
        blocks: residual blocks per level.
    """

    def __init__(
        self, channels: int = 3, dim: int = 4, widths: tuple[int, ...] = (128, 256, 512, 512), blocks: int = 2
    ) -> None:
        super().__init__()
        check_levels(widths, 0, AXES)
        self.channels, self.dim = channels, dim
        self.strides = (2 ** (len(widths) - 1),) * AXES
        conv = CONVS[AXES]
        self.first = keep_variance(conv(channels, widths[0], 3, padding=1))
        self.levels = nn.ModuleList(
            nn.Sequential(*residual_stage(before, now, blocks, AXES, bias=True))
            for before, now in itertools.pairwise((widths[0], *widths))
        )
        self.downs = nn.ModuleList(keep_variance(conv(width, width, 3, stride=2)) for width in widths[:-1])
        self.middle = nn.Sequential(*residual_middle(widths[-1], 2, AXES, True, bias=True))
        self.norm = PlainNorm(widths[-1])
        self.last = keep_variance(conv(widths[-1], 2 * dim, 3, padding=1), SWISH_GAIN)
        self.mean = identity(conv(2 * dim, dim, 1))

    def forward(self, signal: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d *grid"]:
        grid = self.frames(tuple(signal.shape[2:]))
        x = self.first(pad_to(signal, tuple(n * s for n, s in zip(grid, self.strides, strict=True))))
        for index, level in enumerate(self.levels):
            x = level(x)
            if index < len(self.downs):
                x = self.downs[index](F.pad(x, (0, 1, 0, 1)))  # as published: zeros after the last row and column
        return self.mean(self.last(F.silu(self.norm(self.middle(x)))))

    def frames(self, shape: Shape) -> Shape:
        return tuple(-(-length // stride) for length, stride in zip(shape, self.strides, strict=True))
