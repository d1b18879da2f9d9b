"""A convolutional U-Net for generative decoders (https://arxiv.org/abs/2006.11239, appendix B), on 1 to 3 axes."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.codes import Shape
from neuralcodecs.decoders.condition import Condition, Widths, stretched
from neuralcodecs.decoders.network import Network, TimeEmbedding, TimeNorm, check_maps
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import CONVS, keep_variance, residual_middle, residual_stage
from neuralcodecs.layers.cross import CrossAttention


class UNet(Network):
    """Residual blocks at ever lower resolutions and back, with what was seen on the way down beside.

        x, map 0 -> Conv 3 -> [blocks, Conv 3 of stride 2, map i beside] ... -> middle, attending to the tokens
                 -> [nearest, Conv 3, beside it the level's own features, blocks] ... -> norm, swish, Conv 3

    Every norm is scaled and shifted by time, guidance and the condition's vector. Any size goes in: an axis of n has
    ``ceil(n / 2)`` at the next level. A fresh network gives zero.

    Args:
        channels: of the representation.
        axes: of the representation.
        widths: of the condition.
        width: channels of the finest level.
        multipliers: of the width, per level, the finest first.
        blocks: residual blocks per level, on each way.
        attention: whether the middle attends to all of itself; its cost grows with the square of the area there.
        factors: by which each axis shrinks from level to level; 2 everywhere by default (a clip: 1, 2, 2).
    """

    def __init__(
        self,
        channels: int,
        axes: int,
        widths: Widths,
        width: int = 64,
        multipliers: tuple[int, ...] = (1, 2, 4),
        blocks: int = 2,
        attention: bool = False,
        factors: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.factors = (2,) * axes if factors is None else tuple(factors)
        if len(self.factors) != axes or min(self.factors) < 1:
            raise CodecError(f"factors {self.factors} for {axes} axes: give one of at least 1 per axis")
        check_maps(widths, len(multipliers))
        conv, embedding = CONVS[axes], 4 * width
        norm = partial(TimeNorm, width=embedding)
        self.embedding = TimeEmbedding(embedding, widths.vector)
        maps = (*widths.maps, *(0,) * (len(multipliers) - len(widths.maps)))
        sizes = [width * m for m in multipliers]
        self.first = keep_variance(conv(channels + maps[0], sizes[0], 3, padding=1))
        self.down, self.shrink, self.up, self.grow = (nn.ModuleList() for _ in range(4))
        before = sizes[0]
        for level, now in enumerate(sizes):
            if level:
                self.shrink.append(keep_variance(conv(before, before, 3, stride=self.factors, padding=1)))  # type: ignore[arg-type]
                before += maps[level]
            self.down.append(nn.ModuleList(residual_stage(before, now, blocks, axes, norm=norm)))
            before = now
        self.middle = nn.ModuleList(residual_middle(before, 2, axes, attention, norm))
        self.tokens = CrossAttention(before, widths.tokens) if widths.tokens else None
        for now in reversed(sizes):
            self.up.append(nn.ModuleList(residual_stage(before + now, now, blocks, axes, norm=norm)))
            before = now
        for now in reversed(sizes[1:]):
            self.grow.append(keep_variance(conv(now, now, 3, padding=1)))
        self.last_norm = TimeNorm(before, embedding)
        self.last = keep_variance(conv(before, channels, 3, padding=1), 0.0)

    def forward(
        self,
        x: Float[Tensor, "b c *space"],
        time: Float[Tensor, " b"],
        guidance: Float[Tensor, " b"],
        condition: Condition,
    ) -> Float[Tensor, "b c *space"]:
        embedded = self.embedding(time, guidance, condition)
        h, beside = self.first(torch.cat([x, *condition.maps[:1]], dim=1)), []
        for level, blocks in enumerate(self.down):
            if level:
                h = torch.cat([self.shrink[level - 1](h), *condition.maps[level : level + 1]], dim=1)
            h = _through(blocks, h, embedded)
            beside.append(h)
        h = _through(self.middle, h, embedded)
        if self.tokens is not None:
            h = self.tokens(h.flatten(2).transpose(1, 2), condition.tokens).transpose(1, 2).reshape(h.shape)
        for level, blocks in enumerate(self.up):
            own = beside.pop()
            if level:
                h = self.grow[level - 1](stretched(h, tuple(own.shape[2:])))
            h = _through(blocks, torch.cat([h, own], dim=1), embedded)
        return self.last(F.silu(self.last_norm(h, embedded)))

    def sizes(self, size: Shape) -> tuple[Shape, ...]:
        levels = [size]
        while len(levels) < len(self.down):
            levels.append(tuple(-(-n // f) for n, f in zip(levels[-1], self.factors, strict=True)))
        return tuple(levels)


def _through(blocks: nn.Module, h: Tensor, embedded: Tensor) -> Tensor:
    for block in blocks:  # type: ignore[attr-defined]
        h = block(h, embedded)
    return h
