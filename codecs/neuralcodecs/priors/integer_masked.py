"""Masked priors in the exact integers of PEM-24: all groups at once for the encoder, group after group for the decoder.

``MaskedTransformer`` says what is computed; the layers and the order of operations are those of ``stack.py``.
"""

from dataclasses import dataclass, field
from typing import cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.exact import exact
from neuralcodecs.priors.arithmetic import RESIDUAL, Lookups, check_alphabet, check_sizes
from neuralcodecs.priors.grid import Schedule, groups_of, offsets, table_size, times_of, visible
from neuralcodecs.priors.integer import Sealed
from neuralcodecs.priors.prior import check_range, interval_bits
from neuralcodecs.priors.stack import IntegerBlock, IntegerEmbeddings, IntegerHead, IntegerStack

BLOCK = 256
"""Positions whose attention is computed at once: bounds memory, changes nothing."""
FIXED_SIDES = {1: 64, 2: 8, 3: 4}
"""Of the grid of the known answer, by the number of its axes."""


@dataclass
class Revealed:
    """What a decoder knows of grids of one shape. ``positions``: in the order of the keys, the beginning being -1."""

    levels: int
    groups: list[Tensor]
    distance: Int64[Tensor, "n n"]
    given: Float[Tensor, "b n d"]
    positions: Int64[Tensor, " seen"]
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    number: int = 0

    @property
    def group(self) -> Int64[Tensor, " k"]:
        """Positions that are next."""
        return self.groups[self.number]


class IntegerMasked(Sealed):
    """``MaskedTransformer``, exact; the arguments are the same."""

    def __init__(
        self,
        alphabet: Shape,
        schedule: Schedule,
        axes: int = 2,
        dim: int = 128,
        heads: int = 4,
        layers: int = 4,
        reach: int = 8,
        conditions: Shape = (),
    ) -> None:
        super().__init__()
        entries = table_size(axes, reach)
        check_sizes(dim, heads, entries)
        self.alphabet = check_alphabet(alphabet)
        self.conditions = tuple(conditions)
        self.schedule, self.axes, self.reach, self.begin = schedule, axes, reach, entries - 1
        self.lookups = Lookups(dim)
        self.embeddings = IntegerEmbeddings(self.alphabet, dim)
        self.given = IntegerEmbeddings(self.conditions, dim)
        self.asked = IntegerEmbeddings((1,), dim)
        self.stack = IntegerStack(dim, heads, layers, entries)
        self.head = IntegerHead(self.alphabet, dim)

    @property
    def device(self) -> torch.device:
        """Where its integers are; codes and conditions must be there too."""
        return self.answer.device

    def groups(self, grid: Shape, known: Bool[Tensor, " n"] | None = None) -> list[Tensor]:
        """The positions of each step, in the order in which they are coded."""
        return groups_of(times_of(self.schedule, grid, known))

    def teacher_forced(
        self,
        codes: Int64[Tensor, "b q *grid"],
        cond: Int64[Tensor, "_ c *grids"] | None = None,
        known: Bool[Tensor, " n"] | None = None,
    ) -> Int64[Tensor, "b n q v"]:
        """The tables of all codes; those of known positions mean nothing. Raises CodecError for codes out of range."""
        check_range(codes.flatten(2), self.alphabet[: codes.shape[1]], "codes")
        self.verify()
        with exact():
            return self._all(codes, self._given(cond, codes), known)

    def start(
        self,
        codes: Int64[Tensor, "b q *grid"],
        cond: Int64[Tensor, "_ c *grids"] | None = None,
        known: Bool[Tensor, " n"] | None = None,
    ) -> Revealed:
        """What a decoder begins with; of ``codes`` only those of ``known`` positions are looked at."""
        self.verify()
        batch, levels, *grid = codes.shape
        there = torch.zeros(0, dtype=torch.int64) if known is None else torch.nonzero(known.cpu()).flatten()
        with exact():
            given = self._given(cond, codes)
            none = torch.zeros(0, dtype=torch.int64)
            distance = offsets(tuple(grid), self.reach)
            state = Revealed(levels, self.groups(tuple(grid), known), distance, given, none)
            x = self._content(codes.flatten(2)[..., there.to(codes.device)], given[:, there.to(codes.device)])
            begin = self._begin(levels).expand(batch, 1, -1)
            self._absorb(state, torch.cat([there.new_full((1,), -1), there]), torch.cat([begin, x], 1))
        return state

    def tables(self, state: Revealed) -> Int64[Tensor, "b k q v"]:
        """Tables of the positions that are next."""
        with exact():
            place = state.group.to(self.device)
            x = self._query(state.given[:, place])
            bias = self._table_rows(state, state.group)
            for layer, keys, values in zip(self.stack.blocks, state.keys, state.values, strict=True):
                block = cast(IntegerBlock, layer)
                query, _, _ = block.project(x, self.lookups)
                x = block.attend(x, query, (keys, values), block.distances[:, bias], self.lookups)
            return self.head(x, self.lookups, 0, state.levels)

    def tell(self, state: Revealed, symbols: Int64[Tensor, "b q k"]) -> None:
        """The codes of the positions that were next; afterwards the group after them is."""
        with exact():
            x = self._content(symbols, state.given[:, state.group.to(self.device)])
            self._absorb(state, state.group, x)
        state.number += 1

    def fixed_tables(self, codes: Int64[Tensor, "1 q n"], cond: Int64[Tensor, "1 c n"]) -> Int64[Tensor, "1 n q v"]:
        square = codes.view(*codes.shape[:2], *(FIXED_SIDES[self.axes],) * self.axes)
        return self._all(square, self.given(cond.transpose(1, 2)).sum(-2), None)

    def ideal_bits(self, codes: Int64[Tensor, "b q *grid"], cond: Int64[Tensor, "_ c *grids"] | None = None) -> float:
        return interval_bits(self.teacher_forced(codes, cond), codes.flatten(2))

    def _all(
        self, codes: Int64[Tensor, "b q *grid"], given: Float[Tensor, "b n d"], known: Bool[Tensor, " m"] | None
    ) -> Int64[Tensor, "b n q v"]:
        grid, levels = tuple(codes.shape[2:]), codes.shape[1]
        begin = self._begin(levels).expand(len(codes), 1, -1)
        content = torch.cat([begin, self._content(codes.flatten(2), given)], 1)
        x = torch.cat([content, self._query(given)], 1)
        seen, place = visible(times_of(self.schedule, grid, known), offsets(grid, self.reach), self.begin)
        seen, place = seen.to(self.device), place.to(self.device)
        for layer in self.stack.blocks:
            x = self._layer(cast(IntegerBlock, layer), x, content.shape[1], seen, place)
        return self.head(x[:, content.shape[1] :], self.lookups, 0, levels)

    def _layer(
        self,
        block: IntegerBlock,
        x: Float[Tensor, "b m d"],
        keys: int,
        seen: Bool[Tensor, "m k"],
        place: Int64[Tensor, "m k"],
    ) -> Float[Tensor, "b m d"]:
        query, key, value = block.project(x, self.lookups)
        memory = key[:, :, :keys], value[:, :, :keys]
        done = []
        for first in range(0, x.shape[1], BLOCK):
            rows = slice(first, first + BLOCK)
            bias = block.hidden_where(~seen[rows], place[rows])
            done.append(block.attend(x[:, rows], query[:, :, rows], memory, bias, self.lookups))
        return torch.cat(done, 1)

    def _absorb(self, state: Revealed, positions: Int64[Tensor, " k"], x: Float[Tensor, "b k d"]) -> None:
        """Pass the content of positions that are known now through the layers, and keep its keys and values."""
        state.positions = torch.cat([state.positions, positions])
        bias = self._table_rows(state, positions)
        for number, layer in enumerate(self.stack.blocks):
            block = cast(IntegerBlock, layer)
            query, key, value = block.project(x, self.lookups)
            if number == len(state.keys):
                state.keys.append(key[:, :, :0])
                state.values.append(value[:, :, :0])
            state.keys[number] = torch.cat([state.keys[number], key], 2)
            state.values[number] = torch.cat([state.values[number], value], 2)
            memory = state.keys[number], state.values[number]
            x = block.attend(x, query, memory, block.distances[:, bias], self.lookups)

    def _table_rows(self, state: Revealed, positions: Int64[Tensor, " k"]) -> Int64[Tensor, "k seen"]:
        whole = F.pad(state.distance, (1, 0, 1, 0), value=self.begin)
        return whole[positions + 1][:, state.positions + 1].to(self.device)

    def _given(self, cond: Int64[Tensor, "_ c *grids"] | None, codes: Int64[Tensor, "b q *grid"]) -> Tensor:
        """The conditions' embeddings ``(b, n, d)``; raises CodecError where they are not what the prior needs."""
        rows = codes[:, :0] if cond is None else cond
        if codes.ndim != self.axes + 2 or not 1 <= codes.shape[1] <= len(self.alphabet):
            raise CodecError(
                f"codes of shape {tuple(codes.shape)}: this prior has {len(self.alphabet)} levels, {self.axes} axes"
            )
        if rows.shape[1] != len(self.conditions) or (len(rows), *rows.shape[2:]) != (len(codes), *codes.shape[2:]):
            raise CodecError(f"conditions of shape {tuple(rows.shape)}: this prior needs {len(self.conditions)} rows")
        check_range(rows.flatten(2), self.conditions, "conditions")
        return self.given(rows.flatten(2).transpose(1, 2)).sum(-2)

    def _content(self, codes: Int64[Tensor, "b q n"], given: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        return (self.embeddings(codes.transpose(1, 2)).sum(-2) + given).clamp_(-RESIDUAL, RESIDUAL)

    def _query(self, given: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        return (self.asked.vectors[0] + given).clamp_(-RESIDUAL, RESIDUAL)

    def _begin(self, levels: int) -> Float[Tensor, " d"]:
        beginning = self.embeddings.offsets.new_tensor(self.alphabet[:levels])
        return self.embeddings(beginning).sum(-2).clamp_(-RESIDUAL, RESIDUAL)
