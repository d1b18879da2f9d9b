"""What is kept of recorded work: one graph for each shape and key, the least used forgotten first."""

from typing import Any

import pytest
import torch
from torch import Tensor

from neuralcodecs import replayed
from neuralcodecs.replayed import MOST_SHAPES, GraphPerShape, Recorded


class Again:
    """Stands for a graph: does the work again, into the memory of its first results."""

    def __init__(self, work: Any, inside: Any, outside: Any) -> None:
        self.work, self.inside, self.outside = work, inside, outside

    def replay(self) -> None:
        for kept, new in zip(self.outside, self.work(*self.inside), strict=True):
            kept.copy_(new)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The shapes that were recorded, in their order."""
    made: list[Any] = []

    def record(work: Any, inputs: tuple[Tensor, ...]) -> Recorded:
        inside = tuple(x.clone() for x in inputs)
        outside = tuple(x.clone() for x in work(*inside))
        made.append(tuple(inputs[0].shape))
        return Recorded(inside, outside, Again(work, inside, outside))  # type: ignore[arg-type]

    monkeypatch.setattr(replayed, "_record", record)
    return made


def test_each_shape_dtype_and_key_is_recorded_once_and_gives_its_own_results(recorded: list[Any]) -> None:
    graphs = GraphPerShape()
    for _ in range(2):
        for length in (3, 4):
            for dtype in (torch.float32, torch.float64):
                for factor in (2, 5):
                    x, y = torch.randn(length, dtype=dtype), torch.randn(2, dtype=dtype)
                    found = graphs(lambda a, b, f=factor: (f * a, a.sum() + b), (x, y), factor)
                    assert torch.equal(found[0], factor * x) and torch.equal(found[1], x.sum() + y)
    assert len(recorded) == len(graphs) == 8


def test_the_least_used_shape_is_forgotten(recorded: list[Any]) -> None:
    graphs = GraphPerShape()

    def ask(length: int) -> None:
        graphs(lambda x: (x + 1,), (torch.zeros(length),))

    for length in range(1, MOST_SHAPES + 1):
        ask(length)
    ask(1)
    ask(MOST_SHAPES + 1)  # takes the place of 2
    assert len(graphs) == MOST_SHAPES
    ask(1)
    ask(2)
    assert [shape for (shape,) in recorded] == [*range(1, MOST_SHAPES + 2), 2]
