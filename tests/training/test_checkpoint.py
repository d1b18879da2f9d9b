"""Checkpoints and kills: whatever instant the writer dies at, the newest checkpoint that is found loads."""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
import torch

from neuralcodecs.atomic import MARK, atomic
from neuralcodecs.checkpoints import checksum, newest, verifies
from neuralcodecs.errors import CodecError
from neuralcodecs.training.checkpoint import AtomicCheckpointIO


def write_for_ever(folder: Path, start: int) -> None:
    torch.set_num_threads(1)  # the parent's thread pool does not survive the fork: a parallel operation would hang
    io = AtomicCheckpointIO()
    for step in range(start, start + 1_000_000):
        io.save_checkpoint({"step": step, "weights": torch.full((500_000,), float(step))}, folder / f"{step % 3}.ckpt")


def test_forty_kills_during_saving_leave_no_unloadable_newest_checkpoint(tmp_path: Path) -> None:
    delays = random.Random(0)
    fork = multiprocessing.get_context("fork")  # importing torch 40 times would take minutes
    last = -1
    for _ in range(40):
        writer = fork.Process(target=write_for_ever, args=(tmp_path, last + 1))
        writer.start()
        time.sleep(delays.uniform(0.05, 0.2))
        writer.kill()
        writer.join()
        found = newest(tmp_path)
        if found is not None:
            state = AtomicCheckpointIO().load_checkpoint(found)
            assert state["weights"].unique().tolist() == [float(state["step"])]
            assert state["step"] >= last
            last = state["step"]
    assert last > 40
    assert not list(tmp_path.glob(f"*{MARK}*")), "leftovers of killed writers stay behind"


def test_newest_falls_back_to_an_older_one_that_verifies(tmp_path: Path) -> None:
    io = AtomicCheckpointIO()
    for step in (1, 2, 3):
        io.save_checkpoint({"step": step}, tmp_path / f"{step}.ckpt")
        os.utime(tmp_path / f"{step}.ckpt", (step, step))
    (tmp_path / "3.ckpt").write_bytes((tmp_path / "3.ckpt").read_bytes()[:-7])
    damaged = bytearray((tmp_path / "2.ckpt").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "2.ckpt").write_bytes(damaged)
    assert newest(tmp_path) == tmp_path / "1.ckpt"
    with pytest.raises(CodecError, match=r"2\.ckpt does not match its checksum"):
        io.load_checkpoint(tmp_path / "2.ckpt")


def test_a_checkpoint_without_checksum_is_tried_by_loading(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint({"weights": torch.ones(1000)}, path)
    checksum(path).unlink()
    assert verifies(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert not verifies(path)
    assert newest(tmp_path) is None


def test_a_checkpoint_that_is_a_pickle_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {marker}",)

    torch.save({"state_dict": {}, "codec": Payload()}, tmp_path / "evil.ckpt")
    with pytest.raises(Exception, match="Weights only load failed"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "evil.ckpt")
    assert not verifies(tmp_path / "evil.ckpt") and not marker.exists()


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["x.txt"]
