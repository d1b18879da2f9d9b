"""The data module under Lightning: epochs, resume and the throughput that is logged."""

import warnings
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from audio_batches import hashes, make_data, take
from torch import Tensor, nn

from neuralcodecs.training.data import Batch, Loading
from neuralcodecs.training.throughput import Throughput


class Recorder(L.LightningModule):
    """Trains one number and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[str, int, int]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen += hashes([batch])
        self.trainer.datamodule.next_batch = batch.index + 1  # type: ignore[attr-defined]
        return (self.weight - batch.signal.mean()).square()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val", batch.signal.mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def _trainer(folder: Path, **settings: Any) -> L.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return L.Trainer(accelerator="cpu", default_root_dir=folder, **(quiet | settings))


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_and_resume_see_every_batch_once(workers: int, tmp_path: Path) -> None:
    first = Recorder()
    settings: dict[str, Any] = {"limit_train_batches": 3, "enable_checkpointing": False}
    trainer = _trainer(tmp_path, max_steps=5, **settings)
    trainer.fit(first, datamodule=make_data(Loading(workers=workers)))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    second = Recorder()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not resumable.*")
        _trainer(tmp_path, max_steps=8, **settings).fit(
            second, datamodule=make_data(Loading(workers=workers)), ckpt_path=tmp_path / "last.ckpt"
        )
    assert first.seen + second.seen == hashes(take(make_data(), 8))


def test_throughput_is_logged(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, max_steps=6, callbacks=[Throughput(every=3)], enable_checkpointing=False)
    data = make_data()
    trainer.fit(Recorder(), datamodule=data)
    figures = trainer.callback_metrics
    assert float(figures["throughput/seconds_per_second"]) > 0
    assert 0 < float(figures["throughput/waiting"]) <= 1
    assert {"throughput/seconds_per_second", "throughput/waiting"} <= set(trainer.progress_bar_metrics)
    assert data.waited > 0
