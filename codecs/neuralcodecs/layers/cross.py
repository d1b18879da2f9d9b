"""Attention of positions to tokens from elsewhere (https://arxiv.org/abs/1706.03762, section 3.2.3)."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.layers.initialisation import linear
from neuralcodecs.layers.residual import BRANCH_GAIN


class CrossAttention(nn.Module):
    """``x`` plus what its normalised positions find in the tokens.

    Args:
        width: of x.
        tokens: channels of the tokens.
        heads: must divide the width.
        gain: of what is added, relative to unit variance.
    """

    def __init__(self, width: int, tokens: int, heads: int = 1, gain: float = BRANCH_GAIN) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.token_norm = nn.LayerNorm(width), nn.LayerNorm(tokens)
        self.query, self.key, self.value = linear(width, width), linear(tokens, width), linear(tokens, width)
        self.output = linear(width, width, gain)

    def forward(self, x: Float[Tensor, "b n c"], tokens: Float[Tensor, "b k d"]) -> Float[Tensor, "b n c"]:
        known = self.token_norm(tokens)
        query, key, value = (
            rearrange(y, "b n (h c) -> b h n c", h=self.heads)
            for y in (self.query(self.norm(x)), self.key(known), self.value(known))
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        return x + self.output(rearrange(mixed, "b h n c -> b n (h c)"))
