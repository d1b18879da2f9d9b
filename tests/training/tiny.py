"""The smallest whole training that has every part: codec, adversary, balancer, average, real samples."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from conftest import SAMPLES
from lightning.pytorch.callbacks import ModelCheckpoint

from neuralcodecs import Codec
from neuralcodecs.audio import Audio, MultiScaleSTFT, WaveformL1
from neuralcodecs.audio.augment import GainAndMix
from neuralcodecs.audio.discriminators import MultiScaleSTFTDiscriminator
from neuralcodecs.decoders import SEANetDecoder
from neuralcodecs.encoders import SEANetEncoder
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.training import (
    Adversary,
    AtomicCheckpointIO,
    AudioDataModule,
    Balancer,
    CodecTask,
    Loading,
    Optimization,
    Reconstruct,
    Stage,
    WeightAverage,
    Weighted,
)

NETWORK = {"filters": 2, "ratios": (4, 4), "lstm_layers": 1, "pad_mode": "constant"}


def tiny_codec() -> Codec:
    torch.manual_seed(0)
    encoder = SEANetEncoder(dim=8, **NETWORK)
    quantizer = partial(ResidualVQ, codebooks=3, codebook_size=16, levels=(1, 3))
    return Codec(Audio(8000), encoder, quantizer, partial(SEANetDecoder, **NETWORK))


def tiny_task(stage: Stage | None = None, probability: float = 0.6, lr: float = 1e-3, **settings: Any) -> CodecTask:
    codec = tiny_codec()
    return CodecTask(
        codec,
        Reconstruct(Weighted(WaveformL1(), 0.1), Weighted(MultiScaleSTFT((256, 64)))),
        Optimization(partial(torch.optim.Adam, lr=lr, betas=(0.5, 0.9)), **settings),
        Adversary(MultiScaleSTFTDiscriminator((256, 128), filters=4), probability=probability, optimistic=True),
        Balancer(),
        stage,
    )


def tiny_data(workers: int = 0, batch_size: int = 2) -> AudioDataModule:
    train, val = ([str(SAMPLES / "speech" / split)] for split in ("train", "val"))
    return AudioDataModule(train, val, 8000, 1, 0.25, batch_size, GainAndMix(), Loading(workers=workers))


def tiny_trainer(folder: Path, *callbacks: L.Callback, **settings: Any) -> L.Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "max_steps": 6,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "limit_val_batches": 0,
        "use_distributed_sampler": False,
        "log_every_n_steps": 1,
        "plugins": [AtomicCheckpointIO()],
        "callbacks": [
            WeightAverage(0.9),
            *callbacks,
            ModelCheckpoint(folder, "{step}", every_n_train_steps=3, save_top_k=-1),
        ],
    }
    return L.Trainer(default_root_dir=folder, **(defaults | settings))
