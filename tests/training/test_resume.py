"""Killed at random moments and resumed, a run is the run that was never killed, to the last bit."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from tiny import tiny_data, tiny_task, tiny_trainer

from neuralcodecs.checkpoints import newest
from neuralcodecs.training import SaveOnExit

STEPS = 30


class Recorder(L.Callback):
    """Appends every step's logged terms to a file, as hex floats."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        terms = {k: float(v).hex() for k, v in trainer.callback_metrics.items() if k.startswith("train/")}
        with self.path.open("a") as file:
            file.write(f"{batch.index} {float(outputs['loss']).hex()} {sorted(terms.items())}\n")
        time.sleep(0.02)  # so that kills fall inside the run


def run(folder: Path, workers: int, own_group: bool) -> None:
    if own_group:
        os.setpgid(0, 0)
    torch.set_num_threads(1)  # the parent's thread pool does not survive the fork
    found = newest(folder)
    trainer = tiny_trainer(folder, Recorder(folder / "losses.txt"), SaveOnExit(), max_steps=STEPS)
    trainer.fit(tiny_task(), tiny_data(workers), ckpt_path=str(found) if found else None)


def start(folder: Path, workers: int, own_group: bool = False) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=run, args=(folder, workers, own_group))
    process.start()
    return process


def lines(folder: Path) -> int:
    path = folder / "losses.txt"
    return path.read_text().count("\n") if path.exists() else 0


def losses(folder: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in (folder / "losses.txt").read_text().splitlines():
        index, values = line.split(" ", 1)
        found.setdefault(index, set()).add(values)
    return found


def final(folder: Path) -> dict[str, Any]:
    return torch.load(folder / f"step={STEPS}.ckpt", weights_only=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_five_times_it_ends_like_the_uninterrupted_run(tmp_path: Path, workers: int) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    reference = start(whole, 0)
    reference.join()
    assert reference.exitcode == 0
    moments = random.Random(workers)
    kills = 0
    while kills < 5:
        process = start(killed, workers)
        seen, batches = lines(killed), moments.randint(3, 6)  # checkpoints are three batches apart
        deadline = time.monotonic() + 60
        while process.is_alive() and time.monotonic() < deadline and lines(killed) < seen + batches:
            time.sleep(0.003)
        time.sleep(moments.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
        process.join()
        kills += 1
    assert newest(killed) is not None, "every kill came before the first checkpoint: nothing was tested"
    last = start(killed, workers)
    last.join()
    assert last.exitcode == 0
    expected, found = losses(whole), losses(killed)
    assert len(expected) == STEPS and found == expected
    a, b = final(whole), final(killed)
    assert all(torch.equal(v, b["state_dict"][k]) for k, v in a["state_dict"].items() if isinstance(v, torch.Tensor))
    averages = [next(c["average"] for c in state["callbacks"].values() if "average" in c) for state in (a, b)]
    assert all(torch.equal(v, averages[1][k]) for k, v in averages[0].items())
    assert float(a["state_dict"]["combination.norms"].abs().sum()) > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_sigterm_to_the_whole_job_saves_at_the_next_batch_and_exits_with_143(tmp_path: Path, workers: int) -> None:
    process = start(tmp_path, workers, own_group=True)
    while not (tmp_path / "losses.txt").exists():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)  # type: ignore[arg-type]  # workers get it too, as from a scheduler
    process.join()
    assert process.exitcode == 143
    steps = len(losses(tmp_path))
    assert steps < STEPS and newest(tmp_path) == tmp_path / f"step={steps}.ckpt"
