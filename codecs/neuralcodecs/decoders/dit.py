"""A transformer over patches for generative decoders: DiT (https://arxiv.org/abs/2212.09748), on any number of axes."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.codes import Shape
from neuralcodecs.decoders.condition import Condition, Widths, positions
from neuralcodecs.decoders.network import Network, TimeEmbedding, check_maps
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import CONVS, keep_variance, linear
from neuralcodecs.layers.cross import CrossAttention
from neuralcodecs.layers.vit import GELU_GAIN
from neuralcodecs.pieces import fit


class DiTBlock(nn.Module):
    """Self-attention, attention to the condition's tokens, and an MLP; norms are scaled and shifted by the time."""

    def __init__(self, width: int, heads: int, depth: int, tokens: int) -> None:
        super().__init__()
        gain = (2 * depth) ** -0.5
        self.heads = heads
        self.modulation = linear(width, 6 * width, 0.0)
        self.project_in, self.project_out = linear(width, 3 * width), linear(width, width, gain)
        self.cross = CrossAttention(width, tokens, heads, gain) if tokens else None
        self.mlp = nn.Sequential(linear(width, 4 * width), nn.GELU(), linear(4 * width, width, GELU_GAIN * gain))

    def forward(
        self, x: Float[Tensor, "b n c"], embedded: Float[Tensor, "b c"], tokens: Float[Tensor, "b k d"] | None
    ) -> Float[Tensor, "b n c"]:
        modulation = self.modulation(F.silu(embedded))[:, None].chunk(6, dim=-1)
        scale1, shift1, gate1, scale2, shift2, gate2 = modulation
        seen = self.project_in(_normal(x) * (1 + scale1) + shift1)
        query, key, value = rearrange(seen, "b n (three h c) -> three b h n c", three=3, h=self.heads)
        mixed = rearrange(F.scaled_dot_product_attention(query, key, value), "b h n c -> b n (h c)")
        x = x + (1 + gate1) * self.project_out(mixed)
        if self.cross is not None:
            x = self.cross(x, tokens)
        return x + (1 + gate2) * self.mlp(_normal(x) * (1 + scale2) + shift2)


class DiT(Network):
    """Patches of the representation, and of the condition's map beside it, as tokens that see each other.

        x, map -> Conv patch / patch -> + positions -> blocks -> norm -> Linear to patches

    Positions are sines of each axis' index, so any size goes in; one that no number of patches fills is padded with
    zeros inside. Gates start at 1 and the last layer at 0: a fresh network gives zero.

    Args:
        channels: of the representation.
        axes: of the representation.
        widths: of the condition; at most one map.
        patch: size of a patch along each axis.
        width, depth, heads: of the transformer.
    """

    def __init__(
        self,
        channels: int,
        axes: int,
        widths: Widths,
        patch: tuple[int, ...] = (2, 2),
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
    ) -> None:
        super().__init__()
        if len(patch) != axes or min(patch) < 1:
            raise CodecError(f"patch {patch} for {axes} axes: give one size per axis")
        if heads < 1 or width % heads:
            raise CodecError(f"width {width} is no multiple of heads {heads}: change one")
        check_maps(widths, 1)
        self.channels, self.patch = channels, tuple(patch)
        self.embedding = TimeEmbedding(width, widths.vector)
        self.first = keep_variance(CONVS[axes](channels + sum(widths.maps), width, self.patch, self.patch))  # type: ignore[arg-type]
        self.blocks = nn.ModuleList(DiTBlock(width, heads, depth, widths.tokens) for _ in range(depth))
        self.last_modulation = linear(width, 2 * width, 0.0)
        self.last = linear(width, channels * torch.Size(patch).numel(), 0.0)

    def forward(
        self,
        x: Float[Tensor, "b c *space"],
        time: Float[Tensor, " b"],
        guidance: Float[Tensor, " b"],
        condition: Condition,
    ) -> Float[Tensor, "b c *space"]:
        size = tuple(x.shape[2:])
        grid = tuple(-(-n // p) for n, p in zip(size, self.patch, strict=True))
        missing = [g * p - n for n, p, g in zip(size, self.patch, grid, strict=True)]
        padding = [side for m in reversed(missing) for side in (0, m)]
        h = self.first(F.pad(torch.cat([x, *condition.maps], dim=1), padding)).flatten(2).transpose(1, 2)
        h = h + positions(grid, h.shape[-1], h)
        embedded = self.embedding(time, guidance, condition)
        for block in self.blocks:
            h = block(h, embedded, condition.tokens)
        scale, shift = self.last_modulation(F.silu(embedded))[:, None].chunk(2, dim=-1)
        return fit(self._unfold(self.last(_normal(h) * (1 + scale) + shift), grid), size)

    def sizes(self, size: Shape) -> tuple[Shape, ...]:
        return (size,)

    def _unfold(self, patches: Float[Tensor, "b n p"], grid: Shape) -> Float[Tensor, "b c *space"]:
        names = range(len(grid))
        outside, inside = (" ".join(f"{letter}{i}" for i in names) for letter in ("g", "p"))
        space = " ".join(f"(g{i} p{i})" for i in names)
        sizes = {f"g{i}": n for i, n in enumerate(grid)} | {f"p{i}": n for i, n in enumerate(self.patch)}
        return rearrange(patches, f"b ({outside}) (c {inside}) -> b c {space}", **sizes)


def _normal(x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
    return F.layer_norm(x, x.shape[-1:])
