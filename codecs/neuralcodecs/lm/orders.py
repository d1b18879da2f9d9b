"""When each position of a grid is reached: orders of positions in time, and how the levels of a position follow.

ZipAR's wavefront: https://arxiv.org/abs/2412.04062; MaskGIT's schedule: https://arxiv.org/abs/2202.04200; delays:
https://arxiv.org/abs/2306.05284; Stack-and-Delay: https://arxiv.org/abs/2309.08804.
"""

import math
from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from jaxtyping import Int64
from torch import Tensor

from neuralcodecs.codes import Shape
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError
from neuralcodecs.priors.grid import Schedule


class Order(Schedule, ABC):
    """Positions of one grid in time; also the schedule of a prior."""


class Raster(Order):
    """One position after the other, the last axis fastest: time itself for audio, rows of pixels for pictures."""

    def times(self, grid: Shape) -> Int64[Tensor, " n"]:
        return torch.arange(math.prod(grid))


class Wavefront(Order):
    """Rows side by side, each ``window`` positions behind the row above (ZipAR): W + (H - 1) window times.

    A position follows its left neighbour, and the row above as far as ``window - 1`` positions to the right. Rows that
    are shorter than the window follow one another.
    """

    def __init__(self, window: int) -> None:
        if window < 1:
            raise CodecError(f"window {window}: a row starts at least 1 position after the row above")
        self.window = window

    def times(self, grid: Shape) -> Int64[Tensor, " n"]:
        width = grid[-1]
        rows = torch.arange(math.prod(grid[:-1]))
        return (rows[:, None] * min(self.window, width) + torch.arange(width)).flatten()


class Shuffled(Order):
    """One position after the other in random order, the same for every grid of one size; ``seed``: which one."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def times(self, grid: Shape) -> Int64[Tensor, " n"]:
        return torch.randperm(math.prod(grid), generator=torch.Generator().manual_seed(self.seed))


class Apart(Order):
    """Every ``stride``-th position, then those after them, and so on, so that neighbours in time are far apart.

    Frames that Stack-and-Delay decodes side by side must not be adjacent. With n positions any n / stride - 1 that
    follow one another have no two adjacent ones. The paper does not print its permutation: this one is ours.
    """

    def __init__(self, stride: int = 2) -> None:
        if stride < 1:
            raise CodecError(f"stride {stride}: give 1 (as they come) or more")
        self.stride = stride

    def times(self, grid: Shape) -> Int64[Tensor, " n"]:
        positions = torch.arange(math.prod(grid))
        sequence = torch.cat([positions[phase :: self.stride] for phase in range(self.stride)])
        return torch.empty_like(sequence).index_copy_(0, sequence, positions)


class Masked(Order):
    """A random order in ``times`` groups, few positions first and many last (MaskGIT's cosine): parallel decoding."""

    def __init__(self, steps: int, seed: int = 0) -> None:
        if steps < 1:
            raise CodecError(f"{steps} steps: give at least 1")
        self.steps = steps
        self.seed = seed

    def times(self, grid: Shape) -> Int64[Tensor, " n"]:
        n = math.prod(grid)
        known = [n - int(n * math.cos(math.pi / 2 * step / self.steps)) for step in range(self.steps)] + [n]
        times = torch.repeat_interleave(torch.arange(self.steps), torch.tensor([b - a for a, b in pairwise(known)]))
        return times[Shuffled(self.seed).times(grid)]


class Arrangement(Configured, ABC):
    """How the rows of one time (all levels of all streams) follow one another.

    ``whole_frames``: a code sees its own frame's earlier levels and frames that are complete, nothing between, so a
    cache keeps one entry a frame (Stack). Otherwise a code sees all earlier steps, and a cache keeps every step.
    """

    whole_frames: bool = False

    @abstractmethod
    def steps(self, time: Int64[Tensor, " n"], row: Int64[Tensor, " n"], rows: int, times: int) -> Int64[Tensor, " n"]:
        """The step of codes at ``time`` (below ``times``) in ``row`` (below ``rows``): any integers, only their order
        counts. Raises CodecError for a number of rows that it cannot arrange."""


class Parallel(Arrangement):
    """All rows of a time at once."""

    def steps(self, time: Int64[Tensor, " n"], row: Int64[Tensor, " n"], rows: int, times: int) -> Int64[Tensor, " n"]:
        return time


class Flat(Arrangement):
    """Row after row, then the next time."""

    def steps(self, time: Int64[Tensor, " n"], row: Int64[Tensor, " n"], rows: int, times: int) -> Int64[Tensor, " n"]:
        return time * rows + row


class Stacked(Flat):
    """Row after row; a cache keeps one entry for each complete frame (Stack)."""

    whole_frames = True


class Delayed(Arrangement):
    """Row k at its time plus ``delays[k]`` (MusicGen); None: 0, 1, 2 and so on."""

    def __init__(self, delays: list[int] | None = None) -> None:
        if delays is not None and min(delays, default=-1) < 0:
            raise CodecError(f"delays {delays}: give one for each row, none below 0")
        self.delays = delays

    def steps(self, time: Int64[Tensor, " n"], row: Int64[Tensor, " n"], rows: int, times: int) -> Int64[Tensor, " n"]:
        return time + _of_rows(self.delays, rows, "delays")[row]


class Staggered(Delayed):
    """Delays of 0, 1, 2 and so on; each frame in flight has a state of its own and sees whole frames only."""

    whole_frames = True

    def __init__(self) -> None:
        super().__init__()


class Grouped(Arrangement):
    """``groups[k]`` of row k: the groups of a time follow one another, rows of one group are decoded at once.

    ``[0, 1, 1, 1]`` is partial flattening: the first level, then the others together.
    """

    def __init__(self, groups: list[int]) -> None:
        self.groups = groups

    def steps(self, time: Int64[Tensor, " n"], row: Int64[Tensor, " n"], rows: int, times: int) -> Int64[Tensor, " n"]:
        groups = _of_rows(self.groups, rows, "groups")
        return time * (int(groups.max()) + 1) + groups[row]


class Passes(Arrangement):
    """Row k in pass ``passes[k]``: all times of one pass come before the next. Rows of one pass: all at once.

    ``[0, 1, 1, 1]`` is coarse-first: the first level of all times, then all others. ``flat``: row after row within a
    time instead; with ``[0, 0, 1, 1]`` MusicLM's groups.
    """

    def __init__(self, passes: list[int], flat: bool = False) -> None:
        self.passes = passes
        self.flat = flat

    def steps(self, time: Int64[Tensor, " n"], row: Int64[Tensor, " n"], rows: int, times: int) -> Int64[Tensor, " n"]:
        start = _of_rows(self.passes, rows, "passes")[row] * times
        return (start + time) * rows + row if self.flat else start + time


def _of_rows(given: list[int] | None, rows: int, name: str) -> Int64[Tensor, " rows"]:
    values = list(range(rows)) if given is None else given
    if len(values) != rows:
        raise CodecError(f"{name} {values} are for {len(values)} rows, the codes have {rows}: give one for each row")
    return torch.tensor(values)
