"""Decoder of the KL autoencoders behind latent diffusion (https://arxiv.org/abs/2112.10752): see ``encoders.kl``."""

import itertools

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.codec import Decoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import CONVS, SWISH_GAIN, PlainNorm, identity, keep_variance, residual_middle, residual_stage


class KLDecoder(Decoder):
    """Latents to pictures, not clamped.

        Conv 1 -> Conv 3 -> block, attention, block -> per level [blocks, nearest, Conv 3 but for the finest]
        -> norm, swish, Conv 3

    Args:
        dim: of the latents.
        channels: of the picture.
        strides: equal, the power of two that the widths make.
        widths: channels of each level, the finest first; as of the encoder.
        blocks: residual blocks per level; published: one more than in the encoder.
    """

    def __init__(
        self,
        dim: int,
        channels: int,
        strides: Shape,
        widths: tuple[int, ...] = (128, 256, 512, 512),
        blocks: int = 3,
    ) -> None:
        super().__init__()
        if tuple(strides) != (2 ** (len(widths) - 1),) * 2:
            raise CodecError(f"{len(widths)} widths for strides of {tuple(strides)}: give the encoder's")
        conv, down = CONVS[2], tuple(reversed(widths))
        self.spread = identity(conv(dim, dim, 1))
        self.first = keep_variance(conv(dim, down[0], 3, padding=1))
        self.middle = nn.Sequential(*residual_middle(down[0], 2, 2, True, bias=True))
        self.levels = nn.ModuleList(
            nn.Sequential(*residual_stage(before, now, blocks, 2, bias=True))
            for before, now in itertools.pairwise((down[0], *down))
        )
        self.ups = nn.ModuleList(keep_variance(conv(width, width, 3, padding=1)) for width in down[:-1])
        self.norm = PlainNorm(down[-1])
        self.last = keep_variance(conv(down[-1], channels, 3, padding=1), SWISH_GAIN)

    def forward(self, latents: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b c h w"]:
        x = self.middle(self.first(self.spread(latents)))
        for index, level in enumerate(self.levels):
            x = level(x)
            if index < len(self.ups):
                x = self.ups[index](F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.last(F.silu(self.norm(x)))
