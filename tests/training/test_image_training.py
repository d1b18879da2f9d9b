"""A picture codec in the task, the adversary and the checkpoint judge that audio uses: nothing but other parts."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import SAMPLES
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from pictures import picture_codec
from PIL import Image as Pillow
from tiny import tiny_trainer
from torch import nn

from neuralcodecs.errors import CodecError
from neuralcodecs.image import L1, MSE
from neuralcodecs.image.discriminators import BlurredConv, PatchGAN
from neuralcodecs.training import (
    Adversary,
    CodecTask,
    EvaluateCheckpoints,
    Hinge,
    ImageDataModule,
    LeCam,
    Loading,
    Mixed,
    NonSaturating,
    Optimization,
    Reconstruct,
    Weighted,
)

TRAIN, TEST = str(SAMPLES / "image" / "train"), str(SAMPLES / "image" / "test")


def task() -> CodecTask:
    return CodecTask(
        picture_codec(),
        Reconstruct(Weighted(L1()), Weighted(MSE())),
        Optimization(partial(torch.optim.Adam, lr=1e-2, betas=(0.5, 0.9))),
        Adversary(
            PatchGAN(filters=4, layers=2), Mixed(Hinge(), NonSaturating()), 0.1, 0.0, start=2, regularizer=LeCam()
        ),
    )


def data() -> ImageDataModule:
    return ImageDataModule([TRAIN], [TEST], 32, 2, loading=Loading(workers=0))


def test_training_judges_its_checkpoints_and_shows_them(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    module = task()
    before = {name: p.clone() for name, p in module.named_parameters()}
    logger = TensorBoardLogger(tmp_path, "", "")
    judge = EvaluateCheckpoints([TEST], limit=1, examples=1)
    trainer = tiny_trainer(
        tmp_path,
        max_steps=6,
        limit_val_batches=1,
        logger=logger,
        callbacks=[judge, ModelCheckpoint(tmp_path / "checkpoints", "{step}", every_n_train_steps=6, save_top_k=-1)],
    )
    trainer.fit(module, datamodule=data())
    assert trainer.global_step == 6
    assert [name for name, p in module.named_parameters() if torch.equal(p, before[name])] == []
    (checkpoint,) = (tmp_path / "checkpoints").glob("*.ckpt")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert state["adversary.regularizer.averages"].abs().min() > 0
    metrics = json.loads(checkpoint.with_suffix(".metrics.json").read_text())
    assert {"psnr", "ssim", "ms_ssim"} == set(metrics["settings"][0]["figures"]) and metrics["unit"] == "bit/pixel"
    grid = np.asarray(Pillow.open(checkpoint.with_suffix(".comparison.png")))
    events = EventAccumulator(str(tmp_path)).Reload()
    assert "comparison" in events.Tags()["images"] and len(events.Tags()["images"]) == 3
    image = events.Images("comparison")[0]
    assert (image.height, image.width) == grid.shape[:2]


def test_a_network_that_is_missing_stops_the_run_before_it_trains(tmp_path: Path) -> None:
    judge = EvaluateCheckpoints([TEST], weights={"lpips": str(tmp_path / "vgg.pth")})
    with pytest.raises(CodecError, match=r"no file .*vgg\.pth: download"):
        tiny_trainer(tmp_path, judge, max_steps=1).fit(task(), datamodule=data())


CONFIG = """
adversary:
  discriminator:
    class_path: neuralcodecs.image.discriminators.PatchGAN
    init_args:
      filters: 8
      norm: {class_path: torch.nn.InstanceNorm2d, init_args: {affine: true}}
      down: {class_path: neuralcodecs.image.discriminators.BlurredConv}
  game:
    class_path: neuralcodecs.training.Mixed
    init_args:
      discriminator: {class_path: neuralcodecs.training.Hinge}
      generator: {class_path: neuralcodecs.training.NonSaturating}
  regularizer: {class_path: neuralcodecs.training.LeCam, init_args: {weight: 0.1}}
"""


def test_the_adversary_is_built_from_yaml() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Adversary, "adversary")
    built: Any = parser.instantiate_classes(parser.parse_object(yaml.safe_load(CONFIG))).adversary
    kinds = [type(m) for m in built.discriminator.modules()]
    assert kinds.count(nn.InstanceNorm2d) == 3 and kinds.count(BlurredConv) == 3 and nn.BatchNorm2d not in kinds
    assert built.regularizer.weight == 0.1 and isinstance(built.game, Mixed)
