"""The network of PEM-24: embeddings, causal blocks and heads in exact integers, run on any number of new positions."""

from dataclasses import dataclass
from itertools import accumulate

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int32, Int64
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.priors.arithmetic import (
    ABSENT,
    ACTIVATION,
    QUERY_BITS,
    RESIDUAL,
    UNSEEN,
    WEIGHT_BITS,
    ExactLinear,
    Lookups,
    rounded_,
)
from neuralcodecs.priors.prior import tables_of


@dataclass
class Cache:
    """Keys and values of one block, the last ``filled`` in room for more."""

    window: int
    keys: Tensor | None = None
    values: Tensor | None = None
    filled: int = 0

    def extend(self, keys: Float[Tensor, "b h n c"], values: Float[Tensor, "b h n c"]) -> tuple[Tensor, Tensor]:
        """Take new positions; returns those that any of them can see, at most ``window - 1`` older ones first."""
        new, lanes = keys.shape[2], len(keys)
        if self.keys is None or self.values is None or self.filled + new > self.keys.shape[2]:
            self._make_room(keys, new)
        assert self.keys is not None and self.values is not None
        place = slice(self.filled, self.filled + new)
        self.keys[:lanes, :, place], self.values[:lanes, :, place] = keys, values
        self.filled += new
        seen = slice(max(0, self.filled - new - self.window + 1), self.filled)
        return self.keys[:lanes, :, seen], self.values[:lanes, :, seen]

    def _make_room(self, like: Tensor, new: int) -> None:
        keep = min(self.filled, self.window - 1)
        room = like.new_empty(2, *like.shape[:2], 2 * (keep + new), like.shape[3])
        if self.keys is not None and self.values is not None:
            old = slice(self.filled - keep, self.filled)
            room[0, :, :, :keep], room[1, :, :, :keep] = (t[: len(like), :, old] for t in (self.keys, self.values))
        self.keys, self.values, self.filled = room[0], room[1], keep


class IntegerBlock(nn.Module):
    """Norm, attention to the last ``window`` positions, add; norm, ReLU MLP of four times the width, add."""

    distances: Float[Tensor, "h window"]

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = ExactLinear(dim, 3 * dim)
        self.out = ExactLinear(dim, dim)
        self.rise = ExactLinear(dim, 4 * dim)
        self.fall = ExactLinear(4 * dim, dim)
        self.register_buffer("distances", torch.zeros(heads, window))

    def forward(self, x: Float[Tensor, "b n d"], lookups: Lookups, cache: Cache) -> Float[Tensor, "b n d"]:
        """``x``: the residuals of new positions; ``cache``: what it was given of earlier ones, and is extended."""
        query, key, value = self.project(x, lookups)
        memory = cache.extend(key, value)
        return self.attend(x, query, memory, self._bias(x.shape[1], memory[0].shape[2]), lookups)

    def project(self, x: Float[Tensor, "b n d"], lookups: Lookups) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``(b, h, n, c)`` of residuals."""
        projected = self.qkv(lookups.norm(x)).clamp_(-ACTIVATION, ACTIVATION)
        query, key, value = rearrange(projected, "b n (three h c) -> three b h n c", three=3, h=self.heads)
        return query, key, value

    def attend(
        self,
        x: Float[Tensor, "b n d"],
        query: Float[Tensor, "b h n c"],
        memory: tuple[Tensor, Tensor],
        bias: Float[Tensor, "h n m"],
        lookups: Lookups,
    ) -> Float[Tensor, "b n d"]:
        """Residuals after the block; ``memory``: keys and values ``(b, h, m, c)``."""
        keys, values = memory
        scores = rounded_((query @ keys.transpose(-1, -2)).mul_(2.0 ** (5 - 2 * QUERY_BITS)))
        weights = lookups.weights(scores.add_(bias))
        mixed = rounded_((weights @ values).mul_(2.0**-WEIGHT_BITS))
        x = (x + self.out(rearrange(mixed, "b h n c -> b n (h c)"))).clamp_(-RESIDUAL, RESIDUAL)
        hidden = self.rise(lookups.norm(x)).clamp_(0, ACTIVATION)
        return (x + self.fall(hidden)).clamp_(-RESIDUAL, RESIDUAL)

    def hidden_where(self, hidden: Bool[Tensor, "n m"], place: Int64[Tensor, "n m"]) -> Float[Tensor, "h n m"]:
        """Biases by their entries in the table of distances; what is hidden has no weight."""
        return self.distances[:, place].masked_fill(hidden, UNSEEN)

    def _bias(self, new: int, seen: int) -> Float[Tensor, "h n m"]:
        if new == 1:  # a step sees all that is kept
            return self.distances[:, None, :seen].flip(-1)
        key = torch.arange(seen, device=self.distances.device)
        distance = key[seen - new :, None] - key
        bias = self.distances[:, distance.clamp(0, self.window - 1)]
        return bias.masked_fill((distance < 0) | (distance >= self.window), UNSEEN)


class IntegerStack(nn.Module):
    """``layers`` blocks."""

    def __init__(self, dim: int, heads: int, layers: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(IntegerBlock(dim, heads, window) for _ in range(layers))

    def fresh(self) -> list[Cache]:
        return [Cache(self.window) for _ in self.blocks]

    def forward(self, x: Float[Tensor, "b n d"], lookups: Lookups, caches: list[Cache]) -> Float[Tensor, "b n d"]:
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, lookups, cache)
        return x


class IntegerEmbeddings(nn.Module):
    """A vector for each symbol of each codebook, the one for what comes before the first behind them."""

    vectors: Float[Tensor, "symbols d"]
    offsets: Int64[Tensor, " q"]

    def __init__(self, alphabet: Shape, dim: int) -> None:
        super().__init__()
        ends = list(accumulate(size + 1 for size in alphabet))
        self.register_buffer("vectors", torch.zeros(ends[-1] if ends else 0, dim))
        offsets = torch.tensor([0, *ends[:-1]] if ends else [], dtype=torch.int64)
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, symbols: Int64[Tensor, "*rows k"], first: int = 0) -> Float[Tensor, "*rows k d"]:
        """``first``: the codebook of the first column."""
        return self.vectors[symbols + self.offsets[first : first + symbols.shape[-1]]]


class IntegerHead(nn.Module):
    """Residuals to tables, all codebooks padded to the largest."""

    absent: Tensor

    def __init__(self, alphabet: Shape, dim: int) -> None:
        super().__init__()
        self.alphabet, self.size = alphabet, max(alphabet)
        self.linear = ExactLinear(dim, len(alphabet) * self.size)
        absent = torch.arange(self.size) >= torch.tensor(alphabet).unsqueeze(-1)
        self.register_buffer("absent", absent, persistent=False)

    def forward(
        self, x: Float[Tensor, "*rows d"], lookups: Lookups, first: int, last: int
    ) -> Int64[Tensor, "*rows k v"]:
        """Tables of codebooks ``first`` to ``last``, all read from one vector."""
        return tables_of(self.counts(x, lookups, first, last), self.alphabet[first:last])

    def counts(
        self, x: Float[Tensor, "*rows d"], lookups: Lookups, first: int, last: int
    ) -> Int32[Tensor, "*rows k v"]:
        """What their tables are made of, 0 for absent symbols."""
        logits = self.linear.part(lookups.norm(x), first * self.size, last * self.size)
        logits = logits.unflatten(-1, (last - first, self.size))
        if min(self.alphabet) < self.size:
            logits.masked_fill_(self.absent[first:last], ABSENT)
        return lookups.powers(logits)
