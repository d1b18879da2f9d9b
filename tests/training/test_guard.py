"""Non-finite steps are named, counted and, when they do not stop, an error."""

import pytest
import torch

from neuralcodecs.errors import CodecError
from neuralcodecs.training.guard import Guard
from neuralcodecs.training.terms import Term


def watch(guard: Guard, value: float, gradient: float = 1.0) -> bool:
    guard.watch({"spectrum": Term(torch.tensor(value), 1.0), "waveform": Term(torch.tensor(1.0), 1.0)})
    return guard.step_is_sound([torch.tensor([1.0, gradient])])


def test_sound_and_broken_steps() -> None:
    guard = Guard(patience=10)
    assert watch(guard, 1.0) and not watch(guard, float("nan")) and not watch(guard, 1.0, float("inf"))
    assert watch(guard, 1.0)
    assert (guard.skipped, guard.in_a_row) == (2, 0)


def test_too_many_in_a_row_stop_and_name_the_term() -> None:
    guard = Guard(patience=3)
    for _ in range(2):
        watch(guard, float("inf"))
    with pytest.raises(CodecError, match="3 steps in a row were not finite in spectrum"):
        watch(guard, float("inf"))


def test_a_broken_batch_among_accumulated_ones_breaks_the_step() -> None:
    guard = Guard()
    guard.watch({"a": Term(torch.tensor(float("nan")), 1.0)})
    guard.watch({"a": Term(torch.tensor(1.0), 1.0)})
    assert not guard.step_is_sound([torch.ones(1)])


def test_counts_survive_a_state_dict() -> None:
    first, second = Guard(), Guard()
    watch(first, float("nan"))
    second.load_state_dict(first.state_dict())
    assert (second.skipped, second.in_a_row) == (1, 1)


def test_postponed_a_fused_optimizer_leaves_the_step_out_and_the_host_learns_it_one_later() -> None:
    guard, weight = Guard(patience=2), torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight], lr=0.1, fused=True)
    weights, skipped = [], []
    for value in (1.0, float("nan"), 1.0, float("inf"), float("inf")):
        guard.watch({"spectrum": Term(torch.tensor(value), 1.0)})
        weight.grad = torch.full((3,), value)
        optimizer.found_inf = guard.postponed([weight.grad])  # type: ignore[attr-defined]
        optimizer.step()
        weights.append(float(weight.detach()[0]))
        skipped.append(guard.skipped)
    assert skipped == [0, 0, 1, 1, 2]
    assert weights[0] == weights[1] > weights[2] == weights[3] == weights[4]
    assert float(optimizer.state[weight]["step"]) == 2
    guard.watch({"spectrum": Term(torch.tensor(1.0), 1.0)})
    with pytest.raises(CodecError, match="2 steps in a row were not finite in spectrum, gradient"):
        guard.postponed([torch.ones(1)])
