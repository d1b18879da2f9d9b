"""One optimizer, one backward: counts, groups, freezing, skipping, accumulation, precision."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tiny import tiny_codec, tiny_data, tiny_task, tiny_trainer
from torch import Tensor

from neuralcodecs.errors import CodecError
from neuralcodecs.pretrained import load
from neuralcodecs.training import LeastSquares, Optimization, OptimizerGroup, Reconstruct, Stage, WeightAverage
from neuralcodecs.training.task import CodecTask


def copy(task: CodecTask) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in task.named_parameters()}


@pytest.mark.parametrize(
    ("settings", "steps"), [({}, 8), ({"accumulate_grad_batches": 2}, 4), ({"precision": "bf16-mixed"}, 8)]
)
def test_global_step_counts_optimizer_steps_and_batches_are_counted_too(
    tmp_path: Path, settings: dict, steps: int
) -> None:
    task, data = tiny_task(), tiny_data()
    trainer = tiny_trainer(tmp_path, max_steps=steps, **settings)
    trainer.fit(task, data)
    assert trainer.global_step == steps and data.next_batch == 8
    assert int(task.codec.quantizer.bank.initialised) == 3
    assert all(v.isfinite().all() for v in copy(task).values())


def test_every_trainable_parameter_is_in_one_group_and_gets_a_gradient() -> None:
    task = tiny_task(probability=1.0)
    task.adversary.game = LeastSquares()  # a fresh discriminator's hinge pulls its biases equally both ways
    groups = task.parameter_groups()
    listed = [id(p) for parameters in groups.values() for p in parameters]
    assert sorted(listed) == sorted(id(p) for p in task.parameters() if p.requires_grad)
    signal = 0.1 * torch.randn(2, 1, 2000)
    for _ in range(4):
        terms, output, _ = task.objective(task.codec, signal, 3)
        task.codec.quantizer.update()
    terms |= task.adversary(output, signal, 0, 0)
    task.combination(terms, output).backward()
    assert [n for n, p in task.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_groups_take_their_own_settings() -> None:
    task = tiny_task(discriminator=OptimizerGroup(lr=5e-4, betas=(0.1, 0.2)))
    ours, theirs = task.configure_optimizers().param_groups
    assert (ours["lr"], ours["betas"]) == (1e-3, (0.5, 0.9))
    assert (theirs["lr"], tuple(theirs["betas"])) == (5e-4, (0.1, 0.2))


@pytest.mark.parametrize("part", ["encoder", "quantizer", "decoder"])
def test_a_frozen_part_does_not_move_and_the_others_do(tmp_path: Path, part: str) -> None:
    first = tmp_path / "first"
    tiny_trainer(first).fit(tiny_task(), tiny_data())
    task = tiny_task(Stage(freeze=(part,), load_from=str(first)))
    before = {k: v.clone() for k, v in task.codec.state_dict().items()}
    loaded = load(first).state_dict()
    assert all(torch.equal(v, loaded[k]) for k, v in before.items())
    tiny_trainer(tmp_path / "second", max_steps=3).fit(task, tiny_data())
    moved = {k.split(".")[0] for k, v in task.codec.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"encoder", "quantizer", "decoder"} - {part}


def test_no_step_copies_a_number_to_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which on a GPU would wait for all work before it (Lightning makes a tensor so of a number that is logged)."""
    made, tensor = [], torch.tensor

    def noted(*arguments: Any, **settings: Any) -> Tensor:
        made.extend([settings["device"]] if "device" in settings else [])
        return tensor(*arguments, **settings)

    class Watch(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, *rest: Any) -> None:
            monkeypatch.setattr(torch, "tensor", noted if trainer.global_step > 1 else tensor)

    tiny_trainer(tmp_path, Watch(), max_steps=5).fit(tiny_task(), tiny_data())
    assert made == []


def test_a_resting_discriminator_does_not_move_at_all(tmp_path: Path) -> None:
    task = tiny_task(probability=0.0)
    before = copy(task)
    tiny_trainer(tmp_path, max_steps=3).fit(task, tiny_data())
    moved = {k.split(".")[0] for k, v in copy(task).items() if not torch.equal(v, before[k])}
    assert moved == {"codec"}


class Poison(L.Callback):
    """Makes the batches with these numbers not finite."""

    def __init__(self, numbers: set[int]) -> None:
        self.numbers = numbers
        self.before: dict[int, dict[str, Tensor]] = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:  # type: ignore[no-untyped-def]
        self.before[batch.index] = {k: v.detach().clone() for k, v in pl_module.codec.state_dict().items()}
        if batch.index in self.numbers:
            batch.signal.fill_(float("nan"))


def test_a_step_that_is_not_finite_is_skipped_and_counted(tmp_path: Path) -> None:
    task, poison = tiny_task(), Poison({4})
    tiny_trainer(tmp_path, poison, max_steps=7).fit(task, tiny_data())
    assert task.guard.skipped == 1
    before, after = poison.before[4], poison.before[5]
    assert all(torch.equal(v, after[k]) for k, v in before.items() if "pending" not in k)
    assert all(v.isfinite().all() for v in task.codec.state_dict().values() if v.is_floating_point())
    assert any(not torch.equal(v, poison.before[6][k]) for k, v in after.items())


def test_too_many_in_a_row_stop_the_run_and_name_the_terms(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"3 steps in a row were not finite in .*waveform"):
        tiny_trainer(tmp_path, Poison(set(range(2, 99))), max_steps=20).fit(tiny_task(patience=3), tiny_data())


def test_the_average_is_of_the_codec_alone_and_is_what_is_loaded(tmp_path: Path) -> None:
    task = tiny_task()
    trainer = tiny_trainer(tmp_path)
    trainer.fit(task, tiny_data())
    average = next(c for c in trainer.callbacks if isinstance(c, WeightAverage))
    assert set(average.average) == {n for n, _ in task.codec.named_parameters()}
    loaded = load(tmp_path)
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, average.average[name])
        assert not torch.equal(parameter, dict(task.codec.named_parameters())[name])
    with average.applied(task.codec):
        inside = {n: p.detach().clone() for n, p in task.codec.named_parameters()}
    assert all(torch.equal(v, dict(loaded.named_parameters())[n]) for n, v in inside.items())


def test_the_average_forgets_the_start_of_a_short_run_and_keeps_its_decay_in_a_long_one() -> None:
    codec, average = tiny_codec(), WeightAverage(0.95)
    average.start(codec)
    name, parameter = next(iter(codec.named_parameters()))
    with torch.no_grad():
        parameter.add_(1.0)  # every step stands here, so what is left is the share of the start
    left = []
    for step in range(1, 201):
        average.update(codec, step)
        average.update(codec, step)  # batches that accumulate are no step
        left.append(float((parameter - average.average[name]).mean().detach()))
    assert left[0] == pytest.approx(2 / 11, abs=1e-5) and left[39] < 1e-4
    resumed = WeightAverage(0.95)
    resumed.load_state_dict(average.state_dict())
    before = resumed.average[name].clone()
    with torch.no_grad():
        parameter.add_(1.0)
    resumed.update(codec, 201)
    torch.testing.assert_close(resumed.average[name], before + 0.05)


def test_validation_sees_the_average(tmp_path: Path) -> None:
    task, seen = tiny_task(), {}

    class Look(L.Callback):
        def on_validation_batch_end(self, trainer, pl_module, *rest) -> None:  # type: ignore[no-untyped-def]
            seen.update({n: p.detach().clone() for n, p in pl_module.codec.named_parameters()})

    trainer = tiny_trainer(tmp_path, Look(), limit_val_batches=2, val_check_interval=6, num_sanity_val_steps=0)
    trainer.fit(task, tiny_data())
    average = next(c for c in trainer.callbacks if isinstance(c, WeightAverage))
    assert seen and all(torch.equal(v, average.average[n]) for n, v in seen.items())
    assert "val/loss" in trainer.callback_metrics


def test_without_any_loss_an_adversary_is_needed() -> None:
    judged = tiny_task()
    optimization = Optimization(torch.optim.Adam)
    with pytest.raises(CodecError, match="nothing judges the output"):
        CodecTask(tiny_codec(), Reconstruct(), optimization)
    CodecTask(tiny_codec(), Reconstruct(), optimization, judged.adversary)
    CodecTask(tiny_codec(), judged.objective, optimization)
