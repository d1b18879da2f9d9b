"""A causal transformer over time with a bounded past, as in Mimi (https://arxiv.org/abs/2410.00037, section 3.3.1).

Pre-norm layers with rotary positions (https://arxiv.org/abs/2104.09864, halves paired) and LayerScale (2103.17239).
"""

from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuralcodecs.errors import CodecError
from neuralcodecs.layers.streamed import State, Streamed

LONGEST_PERIOD = 10_000.0
"""Of the rotary positions, in steps."""


class Attention(nn.Module):
    """Each position attends to itself and the ``context - 1`` positions before it.

    Positions are an argument and keys and values can be computed apart (``project``), so that a step with a cache is
    ``attend`` on the cached keys followed by the new ones.

    Args:
        dim: channels.
        heads: must divide ``dim`` into even parts.
        context: positions that a position sees, its own included.
    """

    def __init__(self, dim: int, heads: int, context: int) -> None:
        super().__init__()
        if heads < 1 or dim % (2 * heads):
            raise CodecError(f"{heads} heads do not divide {dim} channels into even parts: choose another number")
        if context < 1:
            raise CodecError(f"context {context}: give at least 1")
        self.heads, self.context = heads, context
        self.query, self.key, self.value, self.output = (nn.Linear(dim, dim, bias=False) for _ in range(4))

    def forward(self, x: Float[Tensor, "b t d"], positions: Int64[Tensor, " t"]) -> Float[Tensor, "b t d"]:
        query, key, value = self.project(x, positions)
        return self.attend_in_blocks(query, key, value, positions, positions)

    def attend_in_blocks(
        self,
        query: Float[Tensor, "b h t e"],
        key: Float[Tensor, "b h s e"],
        value: Float[Tensor, "b h s e"],
        query_positions: Int64[Tensor, "*rows t"],
        key_positions: Int64[Tensor, "*rows s"],
    ) -> Float[Tensor, "b t d"]:
        """``attend`` for queries of any number; ``s - t`` cached keys come before those of the queries.

        Queries go in blocks of the context, each with the keys that it can see: memory grows with t, not with t^2.
        """
        cached = key.shape[2] - query.shape[2]
        blocks = []
        for start in range(0, query.shape[2], self.context):
            queries = slice(start, start + self.context)
            keys = slice(max(0, cached + start - self.context + 1), cached + queries.stop)
            places = query_positions[..., queries], key_positions[..., keys]
            blocks.append(self.attend(query[:, :, queries], key[:, :, keys], value[:, :, keys], *places))
        return torch.cat(blocks, dim=1)

    def project(self, x: Float[Tensor, "b t d"], positions: Int64[Tensor, "*rows t"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, turned by their positions, and values; each ``(b, heads, t, d / heads)``."""
        query, key, value = (
            rearrange(layer(x), "b t (h e) -> b h t e", h=self.heads) for layer in (self.query, self.key, self.value)
        )
        return rotate(query, positions), rotate(key, positions), value

    def attend(
        self,
        query: Float[Tensor, "b h t e"],
        key: Float[Tensor, "b h s e"],
        value: Float[Tensor, "b h s e"],
        query_positions: Int64[Tensor, "*rows t"],
        key_positions: Int64[Tensor, "*rows s"],
    ) -> Float[Tensor, "b t d"]:
        """Output of the queries; keys out of a query's sight do not count."""
        age = query_positions[..., :, None] - key_positions[..., None, :]
        seen = (age >= 0) & (age < self.context)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen.unsqueeze(-3))
        return self.output(rearrange(mixed, "b h t e -> b t (h e)"))


class TransformerLayer(nn.Module):
    """Attention and a two-layer network with GELU, each on a normalised input, scaled per channel and added to it."""

    def __init__(self, dim: int, heads: int, hidden: int, context: int, scale: float) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, context)
        self.attention_norm = nn.LayerNorm(dim)
        self.attention_scale = nn.Parameter(torch.full((dim,), scale))
        self.network = nn.Sequential(nn.Linear(dim, hidden, bias=False), nn.GELU(), nn.Linear(hidden, dim, bias=False))
        self.network_norm = nn.LayerNorm(dim)
        self.network_scale = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Float[Tensor, "b t d"], positions: Int64[Tensor, " t"]) -> Float[Tensor, "b t d"]:
        return self._add(x, self.attention(self.attention_norm(x), positions))

    def start(self, batch: int) -> State:
        """Keys and values of the context before the first position, which nothing sees."""
        attention, dim = self.attention, len(self.attention_scale)
        cache = self.attention_scale.new_zeros(batch, attention.heads, attention.context - 1, dim // attention.heads)
        return State((cache, cache))

    def step(
        self,
        x: Float[Tensor, "b t d"],
        state: State,
        positions: Int64[Tensor, "b t"],
        key_positions: Int64[Tensor, "b s"],
    ) -> tuple[Float[Tensor, "b t d"], State]:
        attention = self.attention
        query, *new = attention.project(self.attention_norm(x), positions)
        key, value = (torch.cat([old, more], dim=2) for old, more in zip(state.tensors, new, strict=True))
        mixed = attention.attend_in_blocks(query, key, value, positions, key_positions)
        kept = slice(key.shape[2] - attention.context + 1, None)
        return self._add(x, mixed), State((key[:, :, kept], value[:, :, kept]))

    def _add(self, x: Float[Tensor, "b t d"], attended: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        x = x + self.attention_scale * attended
        return x + self.network_scale * self.network(self.network_norm(x))


class Transformer(Streamed):
    """Layers one after the other over channels-first latents; no normalisation after the last.

    Args:
        dim: channels.
        depth: layers.
        heads: per layer.
        hidden: width of each layer's network.
        context: positions that a layer sees, the current one included; the whole sees ``depth`` times as far.
        scale: initial LayerScale.
    """

    def __init__(
        self, dim: int, depth: int = 8, heads: int = 8, hidden: int = 2048, context: int = 250, scale: float = 0.01
    ) -> None:
        super().__init__()
        self.context = context
        self.layers = nn.ModuleList(TransformerLayer(dim, heads, hidden, context, scale) for _ in range(depth))

    def forward(self, latents: Float[Tensor, "b d t"]) -> Float[Tensor, "b d t"]:
        x = latents.transpose(1, 2)
        positions = torch.arange(x.shape[1], device=x.device)
        for layer in self.layers:
            x = layer(x, positions)
        return x.transpose(1, 2)

    def start(self, batch: int) -> State:
        device = next(self.parameters()).device
        unseen = torch.full((batch, self.context - 1), -self.context, device=device)
        parts = tuple(layer.start(batch) for layer in self._blocks())
        return State((torch.zeros(batch, 1, dtype=torch.int64, device=device), unseen), parts=parts)

    def step(self, x: Float[Tensor, "b d t"], state: State, last: bool) -> tuple[Float[Tensor, "b d t"], State]:
        if not x.shape[-1]:
            return x, state
        following, cached = state.tensors
        # of each stream its own, counted from its start as offline: a large angle's rounding must be the same
        positions = following + torch.arange(x.shape[-1], device=x.device)
        key_positions = torch.cat([cached, positions], dim=1)
        x, parts = x.transpose(1, 2), []
        for layer, part in zip(self._blocks(), state.parts, strict=True):
            x, part = layer.step(x, part, positions, key_positions)
            parts.append(part)
        kept = key_positions[:, key_positions.shape[1] - self.context + 1 :]
        return x.transpose(1, 2), State((positions[:, -1:] + 1, kept), parts=tuple(parts))

    def reach(self, position: int) -> int:
        return position

    def _blocks(self) -> Iterator[TransformerLayer]:
        return cast(Iterator[TransformerLayer], iter(self.layers))


def rotate(x: Float[Tensor, "b h t e"], positions: Int64[Tensor, "*rows t"]) -> Float[Tensor, "b h t e"]:
    """Turn each pair of channels ``(i, i + e / 2)`` by ``position * LONGEST_PERIOD ** (-2 i / e)``, in fp32."""
    size = x.shape[-1]
    frequencies = LONGEST_PERIOD ** -(torch.arange(0, size, 2, device=x.device).float() / size)
    angles = (positions[..., None].float() * frequencies).unsqueeze(-3)
    first, second = x.float().chunk(2, dim=-1)
    cosine, sine = angles.cos(), angles.sin()
    turned = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
    return turned.to(x.dtype)
