"""The float layers of autoregressive priors, limited to what PEM-24 computes exactly (``arithmetic.py``)."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.priors.arithmetic import check_sizes

NORM_FLOOR = 1e-8


def rms_norm(x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + NORM_FLOOR)


class Block(nn.Module):
    """RMS norm, attention to the last ``window`` positions, add; RMS norm, MLP of four times the width, add."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.rise = nn.Linear(dim, 4 * dim)
        self.fall = nn.Linear(4 * dim, dim)
        self.bias = nn.Parameter(torch.zeros(heads, window))

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        query, key, value = rearrange(self.qkv(rms_norm(x)), "b n (three h c) -> three b h n c", three=3, h=self.heads)
        position = torch.arange(x.shape[1], device=x.device)
        distance = position[:, None] - position
        window = self.bias.shape[1]
        bias = self.bias[:, distance.clamp(0, window - 1)]
        bias = bias.masked_fill((distance < 0) | (distance >= window), -torch.inf)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = x + self.out(rearrange(mixed, "b h n c -> b n (h c)"))
        return x + self.fall(F.relu(self.rise(rms_norm(x))))


def stack(dim: int, heads: int, layers: int, window: int) -> nn.Sequential:
    """``layers`` blocks. Raises CodecError for sizes that PEM-24 cannot compute exactly."""
    check_sizes(dim, heads, window)
    blocks = [Block(dim, heads, window) for _ in range(layers)]
    for block in blocks:
        for layer in (block.qkv, block.out, block.rise, block.fall):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
        for layer in (block.out, block.fall):  # all branches together add one unit of variance
            layer.weight.data *= (2 * layers) ** -0.5
    return nn.Sequential(*blocks)


class Embeddings(nn.Module):
    """A vector for each symbol of each codebook, the one for what comes before the first behind them."""

    offsets: Int64[Tensor, " q"]

    def __init__(self, alphabet: Shape, dim: int) -> None:
        super().__init__()
        sizes = torch.tensor([size + 1 for size in alphabet], dtype=torch.int64)
        self.vectors = nn.Parameter(torch.randn(int(sizes.sum()), dim) / math.sqrt(max(len(alphabet), 1)))
        self.register_buffer("offsets", sizes.cumsum(0) - sizes, persistent=False)

    def forward(self, symbols: Int64[Tensor, "*rows k"]) -> Float[Tensor, "*rows k d"]:
        """``k``: the first codebooks, at most all."""
        return F.embedding(symbols + self.offsets[: symbols.shape[-1]], self.vectors)


class Head(nn.Module):
    """Logits of the symbols of each codebook, padded with -inf to the largest alphabet."""

    absent: Tensor

    def __init__(self, alphabet: Shape, dim: int) -> None:
        super().__init__()
        self.alphabet = alphabet
        self.linear = nn.Linear(dim, len(alphabet) * max(alphabet))
        nn.init.normal_(self.linear.weight, std=0.1 * dim**-0.5)
        nn.init.zeros_(self.linear.bias)
        absent = torch.arange(max(alphabet)) >= torch.tensor(alphabet).unsqueeze(-1)
        self.register_buffer("absent", absent, persistent=False)

    def forward(self, x: Float[Tensor, "*rows levels d"]) -> Float[Tensor, "*rows levels v"]:
        """``x``: the vector that each level is read from."""
        size = max(self.alphabet)
        weight = self.linear.weight.view(-1, size, x.shape[-1])[: x.shape[-2]]
        bias = self.linear.bias.view(-1, size)[: x.shape[-2]]
        logits = torch.einsum("...qd,qvd->...qv", rms_norm(x), weight) + bias
        return logits.masked_fill(self.absent[: x.shape[-2]], -torch.inf)
