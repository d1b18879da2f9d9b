"""Two processes with half the batch each train as one process does: every rank the same codec, and the same one."""

import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from tiny import tiny_data, tiny_task, tiny_trainer

from neuralcodecs.training import Optimization

STEPS = 5


class Keep(L.Callback):
    """Writes what a rank ends with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        facts = {"state": pl_module.state_dict(), "steps": trainer.global_step}
        torch.save(facts, self.folder / f"rank{trainer.global_rank}.pt")


def fit(folder: Path, ranks: int) -> None:
    torch.set_num_threads(1)
    # a test before this one may have asked for a CUDA device: that flags forks, which use none here
    torch.cuda._is_in_bad_fork = lambda: False
    distributed = {"strategy": DDPStrategy(process_group_backend="gloo", start_method="fork"), "devices": ranks}
    trainer = tiny_trainer(folder, Keep(folder), max_steps=STEPS, **(distributed if ranks > 1 else {}))
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
