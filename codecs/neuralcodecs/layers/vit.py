"""Pre-norm transformer over all tokens, as in the ViT (https://arxiv.org/abs/2010.11929)."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.errors import CodecError
from neuralcodecs.layers.conv import CONVS
from neuralcodecs.layers.initialisation import linear

EMBEDDING_STD = 0.5
"""Of fresh positions and learned tokens, beside patches of unit variance."""
GELU_GAIN = 1.534
"""1 / sqrt(E[gelu(x) ** 2]) for normal x."""


class TransformerBlock(nn.Module):
    """Layer norm, self-attention, add; layer norm, MLP of four times the width with GELU, add.

    The last layer of both branches starts at ``1 / sqrt(2 * depth)`` of unit variance, so that all of them together
    add one unit.
    """

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project_in = linear(width, 3 * width)
        self.project_out = linear(width, width, (2 * depth) ** -0.5)
        self.mlp = nn.Sequential(
            linear(width, 4 * width), nn.GELU(), linear(4 * width, width, GELU_GAIN * (2 * depth) ** -0.5)
        )

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        query, key, value = rearrange(
            self.project_in(self.norm1(x)), "b n (three h c) -> three b h n c", three=3, h=self.heads
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        x = x + self.project_out(rearrange(mixed, "b h n c -> b n (h c)"))
        return x + self.mlp(self.norm2(x))


def vit_blocks(width: int, depth: int, heads: int) -> nn.Sequential:
    """``depth`` blocks between two layer norms."""
    if width % heads:
        raise CodecError(f"width {width} is no multiple of heads {heads}: change one")
    blocks = [TransformerBlock(width, heads, depth) for _ in range(depth)]
    return nn.Sequential(nn.LayerNorm(width), *blocks, nn.LayerNorm(width))


def patch_grid(size: tuple[int, ...], patch: int) -> tuple[int, ...]:
    """Patches along each axis; raises CodecError when they do not fill the size."""
    if len(size) not in CONVS or patch < 1 or any(n < patch or n % patch for n in size):
        raise CodecError(f"size {tuple(size)} is no multiple of patch {patch} on 1 to 3 axes: change one")
    return tuple(n // patch for n in size)
