"""Step time of EnCodec's GAN recipe on several GPUs by the Trainer's plain ``ddp``, the same batch on each.

    CUDA_VISIBLE_DEVICES=0,1 python benchmarks/scaling.py --devices 2 --data DIR

Prints the time of a step on the slowest rank (Lightning, data and logging included), of it waiting for data, and
whether codebooks, their usage and all weights are equal on all ranks. Compare runs with 1, 2 and 4 devices.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import lightning as L
import torch
from clock import Clock
from gan_step import ADAM, RATE, TOTAL_NORM, WEIGHTS, Networks, executions

from neuralcodecs.audio import EncodecMel, GainAndMix, WaveformL1
from neuralcodecs.training import (
    Adversary,
    AudioDataModule,
    Balancer,
    CodecTask,
    Loading,
    Optimization,
    Reconstruct,
    SaveOnExit,
    Weighted,
)


def task(execution: str) -> CodecTask:
    networks = Networks.fresh(0, torch.device("cpu"))
    codec = networks.codec
    codec.quantizer.load_codebooks(torch.randn_like(codec.quantizer.codebooks))
    losses = Weighted(WaveformL1(), WEIGHTS["waveform"]), Weighted(EncodecMel(RATE), WEIGHTS["spectrum"])
    adversary = Adversary(networks.judge, weight=WEIGHTS["adversarial"], feature_weight=WEIGHTS["features"])
    optimizer = partial(torch.optim.Adam, **ADAM, fused=torch.cuda.is_available())
    optimization = Optimization(optimizer, postpone=torch.cuda.is_available())
    balancer, how = Balancer(total_norm=TOTAL_NORM), executions()[execution]
    return CodecTask(codec, Reconstruct(*losses), optimization, adversary, balancer, execution=how)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("samples"), help="holds speech/train and speech/val")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--crop", type=float, default=1.0, help="seconds")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--execution", choices=[*executions()], default="graphs, rows, fused")
    parser.add_argument("--workers", type=int, default=6)
    options = parser.parse_args()
    cuda = torch.cuda.is_available()
    folders = ([str(options.data / "speech" / split)] for split in ("train", "val"))
    data = AudioDataModule(*folders, RATE, 1, options.crop, options.batch, GainAndMix(), Loading(options.workers))
    with tempfile.TemporaryDirectory() as folder:  # for the checkpoint at the end
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
            callbacks=[Clock(options.steps // 2, options.execution), SaveOnExit()],
            default_root_dir=folder,
        )
        trainer.fit(task(options.execution), data)


if __name__ == "__main__":
    main()
