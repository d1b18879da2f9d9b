"""Trades positions for channels and back, on any number of axes (https://arxiv.org/abs/1609.05158)."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


class SpaceToDepth(nn.Module):
    """Halves every axis: each block of ``2 ** axes`` neighbours becomes so many times the channels."""

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b d *half"]:
        axes = x.ndim - 2
        space = " ".join(f"(s{i} f{i})" for i in range(axes))
        factors, grid = (" ".join(f"{name}{i}" for i in range(axes)) for name in ("f", "s"))
        return rearrange(x, f"b c {space} -> b (c {factors}) {grid}", **{f"f{i}": 2 for i in range(axes)})


class DepthToSpace(nn.Module):
    """Undoes SpaceToDepth; on two axes it is torch's ``PixelShuffle(2)``."""

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *double"]:
        axes = x.ndim - 2
        space = " ".join(f"(s{i} f{i})" for i in range(axes))
        factors, grid = (" ".join(f"{name}{i}" for i in range(axes)) for name in ("f", "s"))
        return rearrange(x, f"b (c {factors}) {grid} -> b c {space}", **{f"f{i}": 2 for i in range(axes)})
