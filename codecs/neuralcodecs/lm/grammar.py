"""Which sequences of codes a pattern allows, when the model chooses how long the item is."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from neuralcodecs.codec import Codec
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.lm.patterns import Extent, Pattern, Plan


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


class Grammar:
    """The items of one codec under one pattern.

    Units: the size of an item, one number for each axis of its signal. Audio counts frames of the codes' grid, and
    its length shows when the sequence ends. Pictures count strides, rounded up, and say their size before the codes.
    """

    def __init__(self, codec: Codec, pattern: Pattern, levels: int) -> None:
        self.codec = codec
        self.pattern = pattern
        self.levels = levels
        self.sized = len(codec.encoder.strides) > 1
        self._lists: dict[Shape, Sequence[int]] = {}

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
        low, high = 0, (units[0] + 1) * strides[0]
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.codec.grid((middle,)) <= units else (low, middle)
        if low == 0 or self.codec.grid((low,)) != units:
            raise CodecError(f"no signal of this codec has {units[0]} frames: ask for another number")
        return (low,)

    def grid(self, units: Shape) -> Shape:
        """The shape of the codes' grid."""
        return self.codec.grid(self.shape(units)) if self.sized else units

    def plan(self, units: Shape) -> Plan:
        """The steps of an item."""
        return self.pattern.plan([Extent(self.grid(units), self.levels)])

    def rows(self, units: Shape) -> Int64[Tensor, " n"]:
        """The row of each code of an item, in the pattern's order."""
        plan = self.plan(units)
        return plan.row[plan.order]

    def read(self, rows: Int64[Tensor, " n"]) -> Reading:
        """The number of frames of which ``rows`` are an item, or else most of them, from the first, a beginning.

        Of several such numbers the smallest. Items of more frames are taken to go on for longer as an endless one does,
        which holds for all patterns but random ones; of those, less may be found than there is.
        """
        count = len(rows)
        whole = (max(1, count // self.levels),)
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
        plan = self.plan(units)
        if known == plan.size:
            return plan.order, units
        read = plan.order[:known]
        self._check_order(plan, units, known)
        grid = plan.extents[0].grid
        have = torch.zeros(plan.size, dtype=torch.bool).index_fill_(0, read, True).view(self.levels, grid[0], -1)
        whole = int(have.all(2).all(0).cumprod(0).sum())
        part = (whole, *units[1:])
        if whole == 0 or self.grid(part) != (whole, *grid[1:]):
            raise CodecError(f"{known} of {plan.size} codes are there, no whole part of the item: generate more tokens")
        return read, part

    def _check_order(self, plan: Plan, units: Shape, known: int) -> None:
        longer = (units[0] + 1,)
        if self.sized or self.agreement(self.rows(units)[:known], longer) < known:
            return
        other = self.plan(longer)
        positions = [p.order[:known] % p.extents[0].grid[0] for p in (plan, other)]
        if not torch.equal(*positions):
            raise CodecError(
                f"the sequence ends after {known} codes and its pattern orders them by the item's length, which is not "
                "known: generate a whole item, or use a pattern that goes on in time"
            )
