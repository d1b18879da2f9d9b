"""CNN decoder of the VQGAN family, as in Open-MAGVIT2, WeTok (https://arxiv.org/abs/2508.05599) and MoVQ."""

from functools import partial

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.codec import Decoder
from neuralcodecs.codes import Shape
from neuralcodecs.decoders.conditioning import ConditionalNorm, ConditionalNormFactory
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import (
    CONVS,
    SWISH_GAIN,
    DepthToSpace,
    NormLayer,
    PlainNorm,
    keep_variance,
    residual_middle,
    residual_stage,
)


class CNNDecoder(Decoder):
    """Latents to a signal ``stride`` times as long along every axis, not clamped.

        Conv 3 -> blocks -> per level [level_norm, blocks, Conv 3 and depth to space but for the last]
        -> norm, swish, Conv 3

    Fresh weights keep the variance of the latents, and conditioned norms start as plain ones.

    WeTok: the encoder's arguments and ``level_norm=AdaptiveGroupNorm``. VQGAN: ``blocks=3, attention=1``; it has two
    blocks at the bottom and repeats pixels before a convolution, where this one has three and rearranges channels
    after it. MoVQ: VQGAN with ``norm=SpatialNorm``.

    Args:
        dim: of the latents.
        channels: of the signal.
        strides: equal, the power of two that the multipliers make.
        width, multipliers, blocks, attention: as for ``CNNEncoder``, levels named from the signal's side.
        norm: every norm of the network; a plain group norm by default.
        level_norm: one more before the blocks of each level; none by default.

    Raises:
        CodecError: the multipliers do not make the strides.
    """

    made_by_codec = {"norm": ("channels", "dim", "axes"), "level_norm": ("channels", "dim", "axes")}

    def __init__(
        self,
        dim: int,
        channels: int,
        strides: Shape,
        width: int = 128,
        multipliers: tuple[int, ...] = (1, 1, 2, 2, 4),
        blocks: int = 2,
        attention: int = 0,
        norm: ConditionalNormFactory | None = None,
        level_norm: ConditionalNormFactory | None = None,
    ) -> None:
        super().__init__()
        axes = len(strides)
        if axes not in CONVS or set(strides) != {2 ** (len(multipliers) - 1)}:
            raise CodecError(
                f"{len(multipliers)} multipliers make strides of {2 ** (len(multipliers) - 1)}, the encoder's are "
                f"{tuple(strides)}: give both the same multipliers"
            )
        everywhere: NormLayer = PlainNorm if norm is None else partial(_bound, norm, dim, axes)
        widths = [width * m for m in multipliers]
        self.first = keep_variance(CONVS[axes](dim, widths[-1], 3, padding=1))
        self.middle = nn.ModuleList(residual_middle(widths[-1], blocks, axes, attention > 0, everywhere))
        self.level_norms, self.levels, self.ups = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        before = widths[-1]
        for level, now in reversed(list(enumerate(widths))):
            if level_norm is not None:
                self.level_norms.append(level_norm(before, dim, axes))
            attentive = level >= len(widths) - attention
            self.levels.append(nn.ModuleList(residual_stage(before, now, blocks, axes, attentive, everywhere)))
            if level:
                grow = keep_variance(CONVS[axes](now, now * 2**axes, 3, padding=1))
                self.ups.append(nn.Sequential(grow, DepthToSpace()))
            before = now
        self.last_norm = everywhere(before)
        self.last = keep_variance(CONVS[axes](before, channels, 3, padding=1), SWISH_GAIN)

    @property
    def norm(self) -> nn.Module:
        """One of the norms: what a config says of all of them."""
        return self.last_norm

    @property
    def level_norm(self) -> nn.Module:
        return self.level_norms[0]

    def forward(self, latents: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b c *space"]:
        return self.finish(self.first(latents), latents)

    def finish(
        self, features: Float[Tensor, "b w *grid"], latents: Float[Tensor, "b d *grid"]
    ) -> Float[Tensor, "b c *space"]:
        """What follows the first convolution, whose output the features are."""
        x = features
        for block in self.middle:
            x = block(x, latents)
        for index, blocks in enumerate(self.levels):
            if len(self.level_norms):
                x = self.level_norms[index](x, latents)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, latents)
            if index < len(self.ups):
                x = self.ups[index](x)
        return self.last(F.silu(self.last_norm(x, latents)))


def _bound(norm: ConditionalNormFactory, dim: int, axes: int, channels: int) -> ConditionalNorm:
    return norm(channels, dim, axes)
