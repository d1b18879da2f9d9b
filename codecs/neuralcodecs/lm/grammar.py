"""Which sequences of codes a pattern allows, when the model chooses how long the item is."""

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from neuralcodecs.codec import Codec
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.lm.patterns import Extent, Pattern, Plan
from neuralcodecs.pieces import extent


@dataclass
class Node:
    """A beginning of ``depth`` codes: the units that begin like this, the rows that may follow, whether it may end."""

    depth: int
    units: list[Shape]
    rows: frozenset[int]
    complete: bool
    children: dict[int, "Node"] = field(default_factory=dict)


class Reading(NamedTuple):
    """What rows say: ``known`` of them, from the first, fit an item of ``units``."""

    units: Shape
    known: int


class Layout(NamedTuple):
    """The codes of an item one after the other: the row of each, and its number.

    Numbers count the main stream as it lies in memory (level, position), then the scales of the pieces, whose row
    comes after the levels.
    """

    row: Int64[Tensor, " n"]
    number: Int64[Tensor, " n"]
    frames: int
    """Positions of a level."""


PLANS = 32
"""Of pieces that are remembered: all but the last of an item are of one size."""


class Grammar:
    """The items of one codec under one pattern.

    Units: the size of an item, one number for each axis of its signal. Audio counts frames of the codes' grid, and
    its length shows when the sequence ends. Pictures count strides, rounded up, and say their size before the codes.

    A codec with a scaler has its items piece by piece: the scale, then the piece's codes in the pattern's order. Other
    codecs have one piece here, however they cut signals.
    """

    def __init__(self, codec: Codec, pattern: Pattern, levels: int) -> None:
        self.codec = codec
        self.pattern = pattern
        self.levels = levels
        self.sized = len(codec.encoder.strides) > 1
        if self.sized and codec.scaler is not None:
            raise CodecError("a codec of pictures with a scaler has no tokens: use one without a scaler")
        self._lists: dict[Shape, Sequence[int]] = {}
        self._plan = lru_cache(PLANS)(self._make_plan)

    def units(self, shape: Shape) -> Shape:
        """The units of a signal of ``shape``."""
        if not self.sized:
            return self.codec.grid(shape)
        return tuple(-(-n // stride) for n, stride in zip(shape, self.codec.encoder.strides, strict=True))

    def shape(self, units: Shape) -> Shape:
        """The shape of the longest signal of these units. Raises CodecError when there is none."""
        strides = self.codec.encoder.strides
        shape = tuple(n * stride for n, stride in zip(units, strides, strict=True))
        if self.sized or self.codec.grid(shape) == units:
            return shape
        longest = self._longest(units[0])
        if longest == 0 or self.codec.grid((longest,)) != units:
            raise CodecError(f"no signal of this codec has {units[0]} frames: ask for another number")
        return (longest,)

    def _longest(self, frames: int) -> int:
        """Samples of the longest signal of at most so many frames."""
        low, high = 0, (frames + 1) * self.codec.encoder.strides[0]
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.codec.grid((middle,)) <= (frames,) else (low, middle)
        return low

    def grid(self, units: Shape) -> Shape:
        """The shape of the codes' grid."""
        return self.codec.grid(self.shape(units)) if self.sized else units

    def scales(self, units: Shape) -> int:
        """How many scales an item has."""
        return 0 if self.codec.scaler is None else len(self._pieces(units))

    def _pieces(self, units: Shape) -> list[int]:
        """Frames of each piece of an item; where no signal has so many, of the longest that has fewer."""
        boxes = self.codec.pieces((self._longest(units[0]),))
        return [self.codec.encoder.frames(extent(box))[0] for box in boxes]

    def _make_plan(self, grid: Shape) -> Plan:
        return self.pattern.plan([Extent(grid, self.levels)])

    def layout(self, units: Shape) -> Layout:
        """The order of an item's codes."""
        if self.codec.scaler is None:
            plan = self._plan(self.grid(units))
            return Layout(plan.row[plan.order], plan.order, plan.size // self.levels)
        pieces, rows, numbers = self._pieces(units), [], []
        frames = sum(pieces)
        for piece, (start, count) in enumerate(zip(accumulate(pieces, initial=0), pieces, strict=False)):
            plan = self._plan((count,))
            row, position = plan.row[plan.order], plan.order % count
            rows += [torch.tensor([self.levels]), row]
            numbers += [torch.tensor([self.levels * frames + piece]), row * frames + start + position]
        return Layout(torch.cat(rows), torch.cat(numbers), frames)

    def rows(self, units: Shape) -> Int64[Tensor, " n"]:
        """The row of each code of an item, in the pattern's order."""
        return self.layout(units).row

    def read(self, rows: Int64[Tensor, " n"]) -> Reading:
        """The number of frames of which ``rows`` are an item, or else most of them, from the first, a beginning.

        Of several such numbers the smallest. Items of more frames are taken to go on for longer as an endless one does,
        which holds for all patterns but random ones; of those, less may be found than there is.
        """
        count = len(rows)
        fitting = bisect_right(range(1, count + 1), count, key=lambda n: self.levels * n + self.scales((n,)))
        whole = (max(1, fitting),)
        if self.agreement(rows, whole) == count == len(self.rows(whole)):
            return Reading(whole, count)
        endless = rows[: self.agreement(rows, (count + 1,))]
        low, high = 0, count + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.agreement(endless, (middle,)) == len(endless) else (middle, high)
        return Reading((high,), self.agreement(rows, (high,)))

    def agreement(self, rows: Int64[Tensor, " n"], units: Shape) -> int:
        """How many of ``rows``, from the first, an item of these units has."""
        own = self.rows(units)
        shared = min(len(own), len(rows))
        return int((own[:shared] == rows[:shared]).cumprod(0).sum())

    def root(self, units: Iterable[Shape]) -> Node:
        """Where sequences of items of any of these units begin."""
        return self._node(0, list(units))

    def step(self, node: Node, row: int) -> Node:
        """The node after one more code, of ``row``; without units when no item goes on like this."""
        if row not in node.children:
            depth = node.depth
            going = [u for u in node.units if len(self._list(u)) > depth and self._list(u)[depth] == row]
            # nearly all nodes have the units of the node before: one list for all of them
            node.children[row] = self._node(depth + 1, node.units if len(going) == len(node.units) else going)
        return node.children[row]

    def _node(self, depth: int, units: list[Shape]) -> Node:
        lists = [self._list(u) for u in units]
        rows = frozenset(rows[depth] for rows in lists if len(rows) > depth)
        return Node(depth, units, rows, any(len(rows) == depth for rows in lists))

    def _list(self, units: Shape) -> Sequence[int]:
        if units not in self._lists:
            self._lists[units] = array("H", self.rows(units).tolist())
        return self._lists[units]

    def whole(self, units: Shape, known: int) -> tuple[Tensor, Shape]:
        """Numbers of the codes read (``known`` of an item of ``units``), and the units of its leading whole part.

        Whole: frames of audio, rows of a picture's grid, of which every code is known. Raises CodecError when there are
        none, when the part is no item of the codec, or when which code is which depends on a length not known.
        """
        layout = self.layout(units)
        if known == len(layout.row):
            return layout.number, units
        read = layout.number[:known]
        self._check_order(layout, units, known)
        grid = self.grid(units)
        have = torch.zeros(self.levels * math.prod(grid) + self.scales(units), dtype=torch.bool).index_fill_(
            0, read, True
        )
        frames = have[: self.levels * math.prod(grid)].view(self.levels, grid[0], -1)
        whole = self._cut(units, int(frames.all(2).all(0).cumprod(0).sum()))
        part = (whole, *units[1:])
        if whole == 0 or self.grid(part) != (whole, *grid[1:]):
            total = len(layout.row)
            raise CodecError(f"{known} of {total} codes are there, no whole part of the item: generate more tokens")
        return read, part

    def _cut(self, units: Shape, frames: int) -> int:
        """The most frames, up to so many, that are an item whose pieces are those of ``units``."""
        if self.codec.scaler is None:
            return frames
        pieces = self._pieces(units)
        places = list(zip(accumulate(pieces, initial=0), pieces, strict=False))
        while frames and self._pieces((frames,)) != [min(n, frames - start) for start, n in places if start < frames]:
            frames -= 1
        return frames

    def _check_order(self, layout: Layout, units: Shape, known: int) -> None:
        longer = (units[0] + 1,)
        if self.sized or self.agreement(layout.row[:known], longer) < known:
            return
        other = self.layout(longer)
        # of the main stream; those of scales come to the same whatever the length
        positions = [part.number[:known] % part.frames for part in (layout, other)]
        if not torch.equal(*positions):
            raise CodecError(
                f"the sequence ends after {known} codes and its pattern orders them by the item's length, which is not "
                "known: generate a whole item, or use a pattern that goes on in time"
            )
