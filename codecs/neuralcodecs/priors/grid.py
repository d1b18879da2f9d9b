"""Grids of any number of axes in groups: which positions see which, and how far apart two are.

A schedule (for example ``lm.orders.Wavefront`` or ``Masked``) gives every position a time; those of one time are coded
at once, each given all of earlier times. What the receiver has already is of time -1.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from torch.nn import functional as F

from neuralcodecs.codes import Shape
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError

GIVEN = -1
LARGEST_GRID = 2**14
"""Positions: every one may see every other."""
TOGETHER = 2048
"""Positions of a grid that are coded together: memory grows with their square."""


class Schedule(Configured, ABC):
    """When each position of a grid is coded."""

    @abstractmethod
    def times(self, grid: Shape) -> Int64[Tensor, " n"]:
        """Time, from 0, of each of the grid's positions in row-major order; several may share one."""


def times_of(schedule: Schedule, grid: Shape, known: Bool[Tensor, " n"] | None) -> Int64[Tensor, " n"]:
    """Times of a grid; ``known`` positions are given before all. Raises CodecError for a grid that is too large."""
    positions = math.prod(grid)
    if not 1 <= positions <= LARGEST_GRID:
        raise CodecError(f"a grid of {positions} positions: masked priors take 1 to {LARGEST_GRID}; code it in tiles")
    times = schedule.times(grid)
    if known is None:
        return times
    if known.shape != times.shape:
        raise CodecError(f"{tuple(known.shape)} known positions of a grid of {positions}: give one for each")
    return times.masked_fill(known.cpu(), GIVEN)


def rows_together(grid: Shape) -> int:
    """Indices of the first axis that are coded together, of a grid that may be larger."""
    return max(1, TOGETHER // max(1, math.prod(grid[1:])))


def groups_of(times: Int64[Tensor, " n"]) -> list[Tensor]:
    """The positions, int64 ``(k,)``, of each time from 0, in row-major order; times that nothing has are left out."""
    return [torch.nonzero(times == time).flatten() for time in times.unique().tolist() if time > GIVEN]


def offsets(grid: Shape, reach: int) -> Int64[Tensor, "n n"]:
    """Which entry of a table of ``(2 reach + 1)**axes`` tells how far key j is from query i; farther ones: its edge."""
    index = torch.zeros(math.prod(grid), math.prod(grid), dtype=torch.int64)
    places = torch.cartesian_prod(*(torch.arange(n) for n in grid)).view(-1, len(grid))
    for axis in places.unbind(1):
        index = index * (2 * reach + 1) + (axis - axis[:, None]).clamp(-reach, reach) + reach
    return index


def table_size(axes: int, reach: int) -> int:
    """Entries of a head's table of distances: all offsets of up to ``reach`` in each axis, and the beginning."""
    if not 1 <= axes <= 3 or reach < 1:
        raise CodecError(f"{axes} axes, reach {reach}: give 1 to 3 axes and a reach of at least 1")
    return (2 * reach + 1) ** axes + 1


def visible(
    times: Int64[Tensor, " n"], distance: Int64[Tensor, "n n"], begin: int
) -> tuple[Bool[Tensor, "m k"], Int64[Tensor, "m k"]]:
    """Of rows begin, content, query: which of begin and content each sees, and its entry of the table of distances.

    ``begin``: the entry of the beginning.
    """
    first = times.new_full((1,), -1)
    keys = torch.cat([first, times])
    seen = torch.cat([keys <= keys[:, None], keys < times[:, None]])
    seen[:, 0] = True
    content = F.pad(distance, (1, 0, 1, 0), value=begin)
    return seen, torch.cat([content, content[1:]])
