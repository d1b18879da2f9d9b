"""One player's gradients extrapolated: a game that drifts apart is held together, and a run that is resumed goes on."""

from pathlib import Path

import torch
from tiny import tiny_data, tiny_task, tiny_trainer
from torch import nn

from neuralcodecs.training.optimism import PAST, Optimism


def test_a_game_that_drifts_apart_is_held_together() -> None:
    """min over x, max over y of x y: whoever steps at once moves away from the only point of rest, (0, 0)."""
    far = {}
    for optimistic in (False, True):
        x, y = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.5))
        optimizer, optimism = torch.optim.SGD([x, y], lr=0.1), Optimism()
        for _ in range(1000):
            x.grad, y.grad = y.detach().clone(), -x.detach().clone()
            optimism.extrapolate(optimizer, [y] if optimistic else [])
            optimizer.step()
            optimism.remember()
        far[optimistic] = float(x.detach().square() + y.detach().square())
    assert far[False] > 1e4 and far[True] < 2


def test_who_rests_keeps_the_gradient_of_its_last_step_and_spoiled_ones_are_not_kept() -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimizer, optimism = torch.optim.Adam([weight], lr=0.1), Optimism()

    def step(gradient: list[float] | None) -> torch.Tensor | None:
        weight.grad = None if gradient is None else torch.tensor(gradient)
        optimism.extrapolate(optimizer, [weight])
        taken = None if weight.grad is None else weight.grad.clone()
        if taken is None or taken.isfinite().all():
            optimizer.step()
        optimism.remember()
        return taken

    assert step([1.0, 2.0]).tolist() == [1.0, 2.0] and step(None) is None
    assert step([3.0, 3.0]).tolist() == [5.0, 4.0]
    step([float("nan"), 1.0])
    assert step([1.0, 1.0]).tolist() == [2.0, 1.0]


def test_in_training_it_is_the_discriminator_alone_and_checkpoints_have_it(tmp_path: Path) -> None:
    task = tiny_task(probability=1.0)
    trainer = tiny_trainer(tmp_path, max_steps=4)
    trainer.fit(task, tiny_data())
    state = trainer.optimizers[0].state
    assert all(PAST in state[p] for p in task.adversary.parameters())
    assert not any(PAST in state[p] for p in task.codec.parameters() if p in state)
    saved = trainer.optimizers[0].state_dict()["state"].values()
    assert sum(PAST in facts for facts in saved) == len(list(task.adversary.parameters()))
