"""Two processes with half the batch each train as one process does: every rank the same codec, and the same one."""

import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from tiny import tiny_data, tiny_task, tiny_trainer

from neuralcodecs.checkpoints import newest
from neuralcodecs.training import Optimization, SaveOnExit

STEPS = 5


class Keep(L.Callback):
    """Writes what a rank ends with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        facts = {"state": pl_module.state_dict(), "steps": trainer.global_step}
        torch.save(facts, self.folder / f"rank{trainer.global_rank}.pt")


def on(ranks: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    # a test before this one may have asked for a CUDA device: that flags forks, which use none here
    torch.cuda._is_in_bad_fork = lambda: False
    if ranks == 1:
        return {}
    return {"strategy": DDPStrategy(process_group_backend="gloo", start_method="fork"), "devices": ranks}


def fit(folder: Path, ranks: int) -> None:
    trainer = tiny_trainer(folder, Keep(folder), max_steps=STEPS, **on(ranks))
    task = tiny_task()
    # where k-means and replaced codes start from depends on which rank holds a vector: tests/quantizers/test_ddp.py
    task.codec.quantizer.load_codebooks(0.1 * torch.randn(3, 16, 8, generator=torch.Generator().manual_seed(0)))
    task.codec.quantizer.bank.dead_threshold = 0.0
    # Adam would divide the rounding of sums over two ranks by gradients near zero; steps of 0.02 and more amplify it in
    # five steps beyond the tolerance, through the logarithm of a spectrum that is near zero in places
    task.optimization = Optimization(partial(torch.optim.SGD, lr=0.005))
    # in channels-last, convolutions of batches of 2 and 4 round differently, and five steps make 0.5 % of that
    task.adversary.to(memory_format=torch.contiguous_format)  # type: ignore[union-attr]
    task.adversary.relative_features = False  # type: ignore[union-attr]  # relative to the batch of a rank, by its definition
    trainer.fit(task, tiny_data(batch_size=4 // ranks))


def run(folder: Path, ranks: int) -> list[dict[str, Any]]:
    folder.mkdir()
    process = multiprocessing.get_context("fork").Process(target=fit, args=(folder, ranks))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(ranks)]


def test_two_ranks_train_as_one_with_the_whole_batch(tmp_path: Path) -> None:
    (alone,) = run(tmp_path / "alone", 1)
    first, second = run(tmp_path / "two", 2)
    assert alone["steps"] == first["steps"] == second["steps"] == STEPS
    for name, value in first["state"].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second["state"][name]), name
    start = tiny_task().state_dict()
    for name, value in alone["state"].items():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and "pending" not in name:
            torch.testing.assert_close(first["state"][name], value, rtol=1e-3, atol=1e-5)
    moved = [
        n for n, v in alone["state"].items() if n in start and n.endswith("original1") and not torch.equal(v, start[n])
    ]
    assert moved, "nothing was trained"


class Told(L.Callback):
    """Tells rank 1 alone to end, and writes how far each rank came and how often Python broadcast something."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broadcasts = 0

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            broadcast = dist.broadcast

            def counted(*arguments: Any, **options: Any) -> Any:
                self.broadcasts += 1
                return broadcast(*arguments, **options)

            dist.broadcast = counted
        if batch_idx == 3 and trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        facts = {"steps": trainer.global_step, "broadcasts": self.broadcasts}
        torch.save(facts, self.folder / f"told{trainer.global_rank}.pt")


def fit_until_told(folder: Path) -> None:
    trainer = tiny_trainer(folder, Told(folder), SaveOnExit(), max_steps=50, **on(2))
    task = tiny_task()
    task.codec.quantizer.load_codebooks(torch.randn(3, 16, 8))  # or starting them would be a broadcast
    trainer.fit(task, tiny_data())


def test_a_signal_to_one_rank_ends_both_after_the_same_step_and_no_step_waits_for_the_question(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=fit_until_told, args=(tmp_path,))
    process.start()
    process.join(120)
    assert process.exitcode != 0
    first, second = (torch.load(tmp_path / f"told{rank}.pt", weights_only=True) for rank in range(2))
    assert first["steps"] == second["steps"] == 5  # told in the fourth, known one later
    assert newest(tmp_path) == tmp_path / "step=5.ckpt"
    assert first["broadcasts"] == second["broadcasts"] == 0
