"""Trainings of so many minutes, however many steps that makes: the learning rate falls by the clock."""

import argparse
import math
import time
from datetime import timedelta
from functools import partial

import lightning as L
import torch

from neuralcodecs.codec import Codec
from neuralcodecs.training import (
    AtomicCheckpointIO,
    CodecTask,
    Eager,
    Graphs,
    Optimization,
    OptimizerGroup,
    Stage,
    WeightAverage,
)
from neuralcodecs.training.objectives import Objective

EXECUTIONS = {"eager": Eager, "graphs": Graphs}


class Falling:
    """A learning rate's factor by the time since the first step: up in 3 %, then half a cosine down to a hundredth."""

    def __init__(self, minutes: float) -> None:
        self.seconds, self.begun = 60 * minutes, 0.0

    def __call__(self, step: int) -> float:
        self.begun = self.begun if step else time.monotonic()
        share = min((time.monotonic() - self.begun) / self.seconds, 1.0)
        return min(share / 0.03 + 0.01, 1.0) * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)


def add_options(parser: argparse.ArgumentParser, lr: float) -> None:
    """What ``train`` asks for."""
    parser.add_argument("--minutes", type=float, default=2.0, help="of each training")
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--average", type=float, default=0.999, help="largest decay of the averaged weights")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--workers", type=int, default=0, help="that draw the training examples")
    parser.add_argument("--pool", type=int, default=512, help="training examples, drawn once and held on the device")
    parser.add_argument("--execution", choices=sorted(EXECUTIONS), default="eager", help="of training steps")
    parser.add_argument("--postpone", action="store_true", help="no step waits for the device (GPU)")
    parser.add_argument("--channels-last", action="store_true", help="convolutions' weights while training")


def optimization(options: argparse.Namespace) -> Optimization:
    schedule = partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=Falling(options.minutes))
    optimizer = partial(torch.optim.AdamW, lr=options.lr, betas=(0.9, 0.99), fused=options.device == "cuda")
    return Optimization(optimizer, schedule, codec=OptimizerGroup(clip=1.0), postpone=options.postpone)


def train(
    codec: Codec, objective: Objective, data: L.LightningDataModule, options: argparse.Namespace, stage: Stage
) -> int:
    """Train for the given minutes; the codec has the averaged weights afterwards and is on the device.

    Returns the number of steps. Neither the drawing of the data nor the first step's setup is in the minutes.
    """
    data.setup("fit")
    L.seed_everything(0)
    if options.channels_last:
        relayed(codec)
    task = CodecTask(codec, objective, optimization(options), stage=stage, execution=EXECUTIONS[options.execution]())
    average = WeightAverage(options.average)
    trainer = L.Trainer(
        accelerator="gpu" if options.device == "cuda" else "cpu",
        devices=1,
        precision=options.precision,
        max_time=timedelta(minutes=options.minutes),
        max_steps=-1,
        benchmark=True,
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
    torch.backends.cudnn.benchmark = False  # what is judged has many sizes
    average.swap(task.codec)
    task.codec.to(options.device).eval()
    return trainer.global_step


def relayed(codec: Codec) -> None:
    """Weights of convolutions on two and three axes with their channels last, as the hardware takes them."""
    for parameter in codec.parameters():
        layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(parameter.ndim)
        if layout is not None:
            parameter.data = parameter.data.to(memory_format=layout)
