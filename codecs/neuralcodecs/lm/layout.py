"""A pattern's plan as the tensors that a transformer needs, whole and step by step."""

import math
from itertools import groupby
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from neuralcodecs.codes import Shape
from neuralcodecs.lm.patterns import Extent, Pattern

FREQUENCIES = 16
"""Sines, and as many cosines, that tell a position on one axis."""
LONGEST_WAVE = 10_000.0


class Due(NamedTuple):
    """Codes of one row that one step gives: from which of the step's states, and their numbers."""

    row: int
    states: Int64[Tensor, " n"]
    numbers: Int64[Tensor, " n"]


class Step(NamedTuple):
    """States that run at once. ``kept``: which of them stay in the cache. ``mask``: what they see of cache and step."""

    states: Int64[Tensor, " n"]
    kept: Bool[Tensor, " n"]
    mask: Bool[Tensor, "n seen"]
    due: tuple[Due, ...]


class Layout:
    """States in order, for grids of one shape.

    ``inputs``: numbers of the codes that each state takes in; ``size`` stands for the beginning, ``size + 1`` for
    nothing. ``row``, ``where``: of the first code that a state gives, its row, and its place on each axis in waves.
    ``mask``: None where each state sees all before it. ``due``: the whole grid's codes by row.
    """

    def __init__(self, pattern: Pattern, grid: Shape, rows: int, device: torch.device) -> None:
        plan = pattern.plan([Extent(grid, rows)])
        self.plan = plan
        self.size = plan.size
        self.device = device
        inputs = plan.inputs.masked_fill(plan.inputs == plan.size, plan.size + 1)
        begins = (inputs == plan.size + 1).all(1)
        inputs[begins, 0] = plan.size
        self.inputs = inputs.to(device)
        first = torch.tensor([state.gives[0] for state in plan.states])
        self.row = plan.row[first].to(device)
        places = torch.unravel_index(first % math.prod(grid), grid)
        self.where = torch.stack([_waves(place) for place in places], dim=1).flatten(1).to(device)
        self._whole = plan.mask()
        causal = torch.ones_like(self._whole).tril()
        self.mask = None if torch.equal(self._whole, causal) else self._whole.to(device)
        self.due = self._due(range(len(plan.states)))

    def steps(self) -> list[Step]:
        """What generation does, one after the other."""
        numbered = list(enumerate(self.plan.states))
        cached: list[int] = []
        steps = []
        for _, group in groupby(numbered, key=lambda pair: pair[1].step):
            now = list(group)
            numbers = [number for number, _ in now]
            kept = torch.tensor([state.kept for _, state in now])
            mask = self._whole[numbers][:, [*cached, *numbers]]
            steps.append(Step(torch.tensor(numbers), kept, mask.to(self.device), self._due(numbers)))
            cached += [number for number, state in now if state.kept]
        return steps

    def _due(self, numbers: range | list[int]) -> tuple[Due, ...]:
        columns = self.plan.index[:, list(numbers)]
        found = []
        for row, codes in enumerate(columns):
            states = (codes < self.size).nonzero().flatten()
            if len(states):
                found.append(Due(row, states.to(self.device), codes[states].to(self.device)))
        return tuple(found)


def _waves(place: Int64[Tensor, " n"]) -> Float[Tensor, "n waves"]:
    speeds = LONGEST_WAVE ** (-torch.arange(FREQUENCIES) / FREQUENCIES)
    angles = place[:, None] * speeds
    return torch.cat([angles.sin(), angles.cos()], dim=1)
