"""Which sequences of codes a pattern allows, when the model chooses how long the item is."""

from collections.abc import Iterable
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
    """A beginning of a sequence of rows: the units that go on like this, and what may follow."""

    depth: int
    units: list[Shape]
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
        self._rows: dict[Shape, Int64[Tensor, " n"]] = {}

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
        if units not in self._rows:
            plan = self.plan(units)
            self._rows[units] = plan.row[plan.order]
        return self._rows[units]

    def read(self, rows: Int64[Tensor, " n"]) -> Reading:
        """The units of which most of ``rows``, from the first, are a beginning; the smallest such. For audio.

        A whole item is found at once; others cost a plan for each number of frames that there could be.
        """
        count = len(rows)
        least = max(1, -(-count // self.levels))
        best = Reading((least,), 0)
        for frames in [*range(least, count + 2), *range(1, least)]:
            reading = Reading((frames,), self.agreement(rows, (frames,)))
            best = max(best, reading, key=lambda r: r.known)
            if best.known == count:
                break
        return best

    def agreement(self, rows: Int64[Tensor, " n"], units: Shape) -> int:
        """How many of ``rows``, from the first, an item of these units has."""
        own = self.rows(units)
        shared = min(len(own), len(rows))
        return int((own[:shared] == rows[:shared]).cumprod(0).sum())

    def root(self, units: Iterable[Shape]) -> Node:
        """Where sequences of items of any of these units begin."""
        return Node(0, list(units))

    def step(self, node: Node, row: int) -> Node:
        """The node after one more code, of ``row``; without units when no item goes on like this."""
        if row not in node.children:
            going = [u for u in node.units if len(self.rows(u)) > node.depth and self.rows(u)[node.depth] == row]
            node.children[row] = Node(node.depth + 1, going)
        return node.children[row]

    def following(self, node: Node) -> tuple[set[int], bool]:
        """The rows of which a code may follow, and whether the item may end here."""
        lengths = [len(self.rows(u)) for u in node.units]
        rows = {int(self.rows(u)[node.depth]) for u, n in zip(node.units, lengths, strict=True) if n > node.depth}
        return rows, node.depth in lengths

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
