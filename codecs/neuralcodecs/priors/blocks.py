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


class Arithmetic:
    """How the layers compute: in floats. ``rounding.py`` has the other way, as files are coded."""

    def kept(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """What is added up along the network."""
        return x

    def normed(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        return rms_norm(x)

    def projected(self, layer: nn.Linear, x: Float[Tensor, "b n d"], heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``(b, h, n, c)`` of what was normed."""
        query, key, value = rearrange(layer(x), "b n (three h c) -> three b h n c", three=3, h=heads)
        return query, key, value

    def mixed(self, query: Tensor, key: Tensor, value: Tensor, bias: Float[Tensor, "h n m"]) -> Tensor:
        """Values ``(b, h, n, c)`` by attention."""
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)

    def out(self, layer: nn.Linear, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """What attention adds."""
        return layer(x)

    def risen(self, layer: nn.Linear, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows e"]:
        return F.relu(layer(x))

    def fallen(self, layer: nn.Linear, x: Float[Tensor, "*rows e"]) -> Float[Tensor, "*rows d"]:
        """What the MLP adds."""
        return layer(x)

    def logits(
        self, weight: Float[Tensor, "q v d"], bias: Float[Tensor, "q v"], x: Float[Tensor, "*rows q d"]
    ) -> Float[Tensor, "*rows q v"]:
        return torch.einsum("...qd,qvd->...qv", x, weight) + bias


FLOATS = Arithmetic()


class Block(nn.Module):
    """RMS norm, attention to the last ``window`` positions, add; RMS norm, MLP of four times the width, add."""

    arithmetic: Arithmetic = FLOATS
    dropped: float = 0.0
    """Share of what a branch adds that is left out in training (``dropout.py``)."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.rise = nn.Linear(dim, 4 * dim)
        self.fall = nn.Linear(4 * dim, dim)
        self.bias = nn.Parameter(torch.zeros(heads, window))

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        position = torch.arange(x.shape[1], device=x.device)
        distance = position[:, None] - position
        window = self.bias.shape[1]
        bias = self.bias[:, distance.clamp(0, window - 1)]
        return self.attend(x, bias.masked_fill((distance < 0) | (distance >= window), -torch.inf))

    def attend(self, x: Float[Tensor, "b n d"], bias: Float[Tensor, "h n m"]) -> Float[Tensor, "b n d"]:
        """``bias``: of the first ``m`` positions as keys of all, -inf for those that are not seen."""
        way, keys = self.arithmetic, bias.shape[2]
        query, key, value = way.projected(self.qkv, way.normed(x), self.heads)
        mixed = way.mixed(query, key[:, :, :keys], value[:, :, :keys], bias)
        x = way.kept(x + self._drop(way.out(self.out, rearrange(mixed, "b h n c -> b n (h c)"))))
        return way.kept(x + self._drop(way.fallen(self.fall, way.risen(self.rise, way.normed(x)))))

    def _drop(self, branch: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        return F.dropout(branch, self.dropped, self.training) if self.dropped else branch


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
    arithmetic: Arithmetic = FLOATS
    dropped: float = 0.0

    def __init__(self, alphabet: Shape, dim: int) -> None:
        super().__init__()
        sizes = torch.tensor([size + 1 for size in alphabet], dtype=torch.int64)
        self.vectors = nn.Parameter(torch.randn(int(sizes.sum()), dim) / math.sqrt(max(len(alphabet), 1)))
        self.register_buffer("offsets", sizes.cumsum(0) - sizes, persistent=False)

    def forward(self, symbols: Int64[Tensor, "*rows k"]) -> Float[Tensor, "*rows k d"]:
        """``k``: the first codebooks, at most all."""
        vectors = self.arithmetic.kept(F.embedding(symbols + self.offsets[: symbols.shape[-1]], self.vectors))
        return F.dropout(vectors, self.dropped, self.training) if self.dropped else vectors


class Head(nn.Module):
    """Logits of the symbols of each codebook, padded with -inf to the largest alphabet."""

    absent: Tensor
    arithmetic: Arithmetic = FLOATS

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
        logits = self.arithmetic.logits(weight, bias, self.arithmetic.normed(x))
        return logits.masked_fill(self.absent[: x.shape[-2]], -torch.inf)
