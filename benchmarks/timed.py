"""Trainings of so many minutes, however many steps that makes: the learning rate falls by the clock."""

import math
import time
from datetime import timedelta
from functools import partial

import lightning as L
import torch

from neuralcodecs.training import AtomicCheckpointIO, CodecTask, Optimization, OptimizerGroup, WeightAverage
from neuralcodecs.training.data import SignalDataModule


class Falling:
    """A learning rate's factor by the time since the first step: up in 3 %, then half a cosine down to a hundredth."""

    def __init__(self, minutes: float) -> None:
        self.seconds, self.begun = 60 * minutes, 0.0

    def __call__(self, step: int) -> float:
        self.begun = self.begun if step else time.monotonic()
        share = min((time.monotonic() - self.begun) / self.seconds, 1.0)
        return min(share / 0.03 + 0.01, 1.0) * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)


def optimization(minutes: float, lr: float) -> Optimization:
    schedule = partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=Falling(minutes))
    optimizer = partial(torch.optim.AdamW, lr=lr, betas=(0.9, 0.99))
    return Optimization(optimizer, schedule, codec=OptimizerGroup(clip=1.0))


def fit(task: CodecTask, data: SignalDataModule, minutes: float, device: str, precision: str, decay: float) -> int:
    """Train; the codec has the averaged weights afterwards and is on the device. Returns the number of steps."""
    average = WeightAverage(decay)
    trainer = L.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        precision=precision,
        max_time=timedelta(minutes=minutes),
        max_steps=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        plugins=[AtomicCheckpointIO()],
        callbacks=[average],
    )
    trainer.fit(task, data)
    average.swap(task.codec)
    task.codec.to(device).eval()
    return trainer.global_step
