"""Patterns: in which order, and how many at once, the codes of an item become known, and what each of them may see.

    codes (b q *grid) of each stream --build--> sequence (b rows states) --revert--> codes

A pattern is an ordered list of steps, each a list of (stream, position, level); time need not be monotone. Everything
else follows from the list. Codebook patterns: https://arxiv.org/abs/2306.05284; Stack: https://arxiv.org/abs/2309.08804.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError
from neuralcodecs.lm.orders import Arrangement, Order


class Extent(NamedTuple):
    """How large one stream of an item is: the shape of its grid, and its number of levels."""

    grid: Shape
    levels: int


class Coordinate(NamedTuple):
    """One code of an item: ``position`` counts the stream's grid in row-major order."""

    stream: int
    position: int
    level: int


class State(NamedTuple):
    """One hidden state of a model that follows a pattern; codes are numbers into ``Plan.coordinates``.

    ``takes``: codes whose embeddings sum to its input (none: the begin embedding). ``gives``: those that its output
    predicts, each of another row. ``kept``: later states may attend to it, so it stays in a cache.
    """

    step: int
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    kept: bool


class Plan:
    """The steps of a pattern for an item of given extents, and all that follows from them.

    Codes are numbered as the streams lie in memory: stream, level, position. Row: one level of one stream.

    Args:
        extents: of each stream.
        step: of each code; any integers, only their order counts. A step at which nothing is due does not exist.
        frame: of each code; frames are what ``whole_frames`` speaks of.
        whole_frames: a code sees earlier codes of its own frame and frames that are complete; else all earlier steps.
    """

    def __init__(
        self, extents: Sequence[Extent], step: Int64[Tensor, " n"], frame: Int64[Tensor, " n"], whole_frames: bool
    ) -> None:
        self.extents = tuple(extents)
        self.rows = sum(extent.levels for extent in extents)
        self.step = torch.unique(step, return_inverse=True)[1]
        self.frame = frame
        self.whole_frames = whole_frames
        self.row = torch.cat(list(_rows(self.extents)))
        self.order = torch.argsort(self.step, stable=True)
        """Numbers of the codes, one after the other: by step, then by row, then by position."""

    @property
    def size(self) -> int:
        """Number of codes."""
        return len(self.step)

    @property
    def count(self) -> int:
        """Number of steps."""
        return int(self.step.max()) + 1 if self.size else 0

    @cached_property
    def coordinates(self) -> list[Coordinate]:
        """The coordinate of each code, in the order in which codes are numbered."""
        return [
            Coordinate(stream, position, level)
            for stream, extent in enumerate(self.extents)
            for level in range(extent.levels)
            for position in range(math.prod(extent.grid))
        ]

    @cached_property
    def steps(self) -> list[list[Coordinate]]:
        """The pattern itself."""
        return [[self.coordinates[code] for code in codes] for codes in self._at]

    @cached_property
    def _at(self) -> list[list[int]]:
        lists: list[list[int]] = [[] for _ in range(self.count)]
        for code, step in zip(self.order.tolist(), self.step[self.order].tolist(), strict=True):
            lists[step].append(code)
        return lists

    @cached_property
    def states(self) -> list[State]:
        """The hidden states in order: one for each step, or as many as a step has codes of one row (or frames)."""
        return self._of_frames() if self.whole_frames else self._of_steps()

    def _of_steps(self) -> list[State]:
        rows, states = self.row.tolist(), []
        before: list[list[int]] = []
        for step, codes in enumerate(self._at):
            nth: dict[int, int] = defaultdict(int)
            groups: dict[int, list[int]] = defaultdict(list)
            for code in codes:  # the n-th code of each row shares the n-th state
                groups[nth[rows[code]]].append(code)
                nth[rows[code]] += 1
            now = list(groups.values())
            takes: list[list[int]] = [[] for _ in now]
            for group in before:  # a state takes in the codes just decoded that are nearest to its own
                place = self.coordinates[group[0]].position
                near = min(range(len(now)), key=lambda n: abs(self.coordinates[now[n][0]].position - place))
                takes[near] += group
            states += [State(step, tuple(t), tuple(g), True) for t, g in zip(takes, now, strict=True)]
            before = now
        return states

    def _of_frames(self) -> list[State]:
        frames, states = self.frame.tolist(), []
        due = {frame: int(self.step[self.frame == frame].max()) for frame in set(frames)}
        known: dict[int, list[int]] = defaultdict(list)
        for step, codes in enumerate(self._at):
            groups: dict[int, list[int]] = defaultdict(list)
            for code in codes:
                groups[frames[code]].append(code)
            for frame, group in sorted(groups.items()):
                whole = [f for f in known if due[f] < step and f != frame]
                first = frame not in known
                # the first state of a frame takes in the frames that became complete, and only it is kept
                takes = [code for f in whole for code in known.pop(f)] if first else known[frame]
                states.append(State(step, tuple(takes), tuple(group), first))
                known[frame] = [] if first else known[frame]
            for frame, group in groups.items():
                known[frame] = known[frame] + group
        return states

    @property
    def cache(self) -> int:
        """Entries of a key-value cache at the end: the states that later ones may attend to."""
        return sum(state.kept for state in self.states)

    @cached_property
    def index(self) -> Int64[Tensor, "rows states"]:
        """Number of the code of each row that each state predicts; ``size`` where there is none."""
        index = torch.full((self.rows, len(self.states)), self.size)
        rows = self.row.tolist()
        for number, state in enumerate(self.states):
            for code in state.gives:
                index[rows[code], number] = code
        return index

    @cached_property
    def inverse(self) -> Int64[Tensor, " size"]:
        """Where each code is in the flattened ``index``."""
        flat = self.index.flatten()
        where = torch.empty(self.size + 1, dtype=torch.int64).index_copy_(0, flat, torch.arange(len(flat)))
        return where[: self.size]

    @cached_property
    def inputs(self) -> Int64[Tensor, "states width"]:
        """Numbers of the codes whose embeddings sum to the input of each state; ``size`` fills up."""
        width = max(1, max((len(state.takes) for state in self.states), default=1))
        return torch.tensor([[*s.takes, *[self.size] * (width - len(s.takes))] for s in self.states])

    def mask(self) -> Bool[Tensor, "states states"]:
        """Row: a state; column: the states that it may attend to."""
        step = torch.tensor([state.step for state in self.states])
        kept = torch.tensor([state.kept for state in self.states])
        seen = (step[:, None] >= step[None, :]) & kept
        return seen | torch.eye(len(step), dtype=torch.bool)

    def visible(self, coordinate: Coordinate) -> set[Coordinate]:
        """The codes that reach the prediction of one code."""
        code = self.coordinates.index(coordinate)
        number = next(n for n, state in enumerate(self.states) if code in state.gives)
        seen = self.mask()[number].nonzero().flatten().tolist()
        return {self.coordinates[taken] for n in seen for taken in self.states[n].takes}

    def flatten(self, streams: Sequence[Int64[Tensor, "b _ ..."]]) -> Int64[Tensor, "b size"]:
        """All codes of each item one after the other, as one sequence of a language model has them."""
        return self._joined(streams)[:, self.order]

    def unflatten(self, sequence: Int64[Tensor, "b size"]) -> list[Int64[Tensor, "b _ ..."]]:
        """The inverse of ``flatten``."""
        return self._split(torch.empty_like(sequence).index_copy_(1, self.order, sequence))

    def build(self, streams: Sequence[Int64[Tensor, "b _ ..."]], empty: int) -> Int64[Tensor, "b rows states"]:
        """The codes that each state predicts, row by row, with ``empty`` where there is none."""
        return nn.functional.pad(self._joined(streams), (0, 1), value=empty)[:, self.index]

    def revert(self, sequence: Int64[Tensor, "b rows states"]) -> list[Int64[Tensor, "b _ ..."]]:
        """The inverse of ``build``."""
        return self._split(sequence.flatten(1)[:, self.inverse])

    def _joined(self, streams: Sequence[Tensor]) -> Tensor:
        shapes = [tuple(stream.shape[1:]) for stream in streams]
        wanted = [(extent.levels, *extent.grid) for extent in self.extents]
        if shapes != wanted:
            raise CodecError(f"codes of shapes {shapes} do not fit a plan for {wanted}: make one for their extents")
        return torch.cat([stream.flatten(1) for stream in streams], dim=1)

    def _split(self, codes: Tensor) -> list[Tensor]:
        parts = codes.split([e.levels * math.prod(e.grid) for e in self.extents], dim=1)
        return [part.reshape(-1, e.levels, *e.grid) for part, e in zip(parts, self.extents, strict=True)]


class Pattern(Configured):
    """Positions in an order, and the rows of a time in an arrangement: every pattern is one of each."""

    def __init__(self, arrangement: Arrangement, order: Order) -> None:
        self.arrangement = arrangement
        self.order = order

    def plan(self, extents: Sequence[Extent]) -> Plan:
        """The steps for an item of these extents. Streams of fewer times are spread evenly over the longest.

        Raises CodecError for extents that the arrangement cannot take.
        """
        times = [self.order.times(extent.grid) for extent in extents]
        spans = [int(t.max()) + 1 if len(t) else 0 for t in times]
        longest = max(spans, default=0)
        spread = [t * longest // max(n, 1) for t, n in zip(times, spans, strict=True)]
        time = torch.cat([t.repeat(e.levels) for t, e in zip(spread, extents, strict=True)])
        row = torch.cat(list(_rows(extents)))
        step = self.arrangement.steps(time, row, sum(e.levels for e in extents), longest)
        return Plan(extents, step, time, self.arrangement.whole_frames)


def _rows(extents: Sequence[Extent]) -> list[Tensor]:
    """The row of each code of each stream."""
    rows, start = [], 0
    for extent in extents:
        rows.append(torch.arange(start, start + extent.levels).repeat_interleave(math.prod(extent.grid)))
        start += extent.levels
    return rows
