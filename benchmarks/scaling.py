"""Step time of EnCodec's GAN recipe on several GPUs by the Trainer's plain ``ddp``, the same batch on each.

    CUDA_VISIBLE_DEVICES=0,1 python benchmarks/scaling.py --devices 2 --data DIR

Prints the median step of the slowest rank (Lightning, data and logging included), waiting for data, and whether
codebooks, their usage and all weights are equal on all ranks. Compare runs with 1, 2 and 4 devices.
"""

import argparse
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from gan_step import ADAM, RATE, TOTAL_NORM, WEIGHTS, Networks

from neuralcodecs.audio import EncodecMel, GainAndMix, WaveformL1
from neuralcodecs.layers.distributed import rank_and_world
from neuralcodecs.training import (
    Adversary,
    AudioDataModule,
    Balancer,
    CodecTask,
    Loading,
    Optimization,
    Reconstruct,
    Weighted,
)


class Clock(L.Callback):
    """Times steps after a warm-up and compares ranks at the end."""

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.marks: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *rest: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.marks.append(time.perf_counter())

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        marks = self.marks[self.warm_up :]
        step = statistics.median(b - a for a, b in zip(marks, marks[1:], strict=False))
        slowest = torch.tensor([1e3 * step], device=pl_module.device)
        tensors = [value for value in pl_module.state_dict().values() if torch.is_tensor(value)]
        different = 0
        if dist.is_initialized():
            dist.all_reduce(slowest, dist.ReduceOp.MAX)
            for value in tensors:
                first = value.clone()
                dist.broadcast(first, 0)
                different += not torch.equal(first, value)
            count = torch.tensor([different], device=pl_module.device)
            dist.all_reduce(count)
            different = int(count)
        if rank_and_world()[0] == 0:
            waited = trainer.datamodule.waited / len(self.marks) * 1e3  # type: ignore[attr-defined]
            print(
                f"{trainer.world_size} devices: {float(slowest):.1f} ms a step, {waited:.1f} ms waiting for data; "
                f"tensors that differ between ranks: {different} of {len(tensors)}",
                flush=True,
            )


def task() -> CodecTask:
    networks = Networks.fresh(0, torch.device("cpu"))
    codec = networks.codec
    codec.quantizer.load_codebooks(torch.randn_like(codec.quantizer.codebooks))
    losses = Weighted(WaveformL1(), WEIGHTS["waveform"]), Weighted(EncodecMel(RATE), WEIGHTS["spectrum"])
    adversary = Adversary(networks.judge, weight=WEIGHTS["adversarial"], feature_weight=WEIGHTS["features"])
    optimizer = partial(torch.optim.Adam, **ADAM, fused=torch.cuda.is_available())
    return CodecTask(codec, Reconstruct(*losses), Optimization(optimizer), adversary, Balancer(total_norm=TOTAL_NORM))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("samples"), help="holds speech/train and speech/val")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--crop", type=float, default=1.0, help="seconds")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--workers", type=int, default=6)
    options = parser.parse_args()
    cuda = torch.cuda.is_available()
    folders = ([str(options.data / "speech" / split)] for split in ("train", "val"))
    data = AudioDataModule(*folders, RATE, 1, options.crop, options.batch, GainAndMix(), Loading(options.workers))
    trainer = L.Trainer(
        accelerator="gpu" if cuda else "cpu",
        devices=options.devices,
        strategy="ddp" if options.devices > 1 else "auto",
        precision="bf16-mixed" if cuda else "32-true",
        benchmark=True,
        max_steps=options.steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        callbacks=[Clock(options.steps // 3)],
    )
    trainer.fit(task(), data)


if __name__ == "__main__":
    main()
