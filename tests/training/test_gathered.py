"""What quantizers gather over several steps is in the run's checkpoints, and not in the model."""

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tiny import tiny_data, tiny_trainer

from neuralcodecs import Codec
from neuralcodecs.audio import Audio, WaveformL1
from neuralcodecs.decoders import SEANetDecoder
from neuralcodecs.encoders import SEANetEncoder, SpareEncoder
from neuralcodecs.pretrained import load
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.quantizers.semantic import Conditional, NestedKMeans
from neuralcodecs.training import CodecTask, Optimization, Reconstruct, Weighted


@pytest.mark.parametrize("stop", [1, 3])
def test_a_run_that_is_resumed_before_the_clustering_finds_the_same_centroids(tmp_path: Path, stop: int) -> None:
    def task() -> CodecTask:
        torch.manual_seed(0)
        network = {"filters": 2, "ratios": (4, 4), "lstm_layers": 0}
        semantic = partial(NestedKMeans, sizes=(8, 16), gather=4)
        acoustic = partial(ResidualVQ, codebooks=1, codebook_size=16)
        quantizer = partial(Conditional, semantic=semantic, acoustic=acoustic, layers=1, hidden=8)
        encoder = SpareEncoder(SEANetEncoder(dim=8, **network), spare=-1)
        codec = Codec(Audio(8000), encoder, quantizer, partial(SEANetDecoder, **network))
        return CodecTask(codec, Reconstruct(Weighted(WaveformL1())), Optimization(partial(torch.optim.Adam, lr=1e-3)))

    def run(folder: Path, steps: int, checkpoint: str | None = None) -> CodecTask:
        trained = task()
        saving = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        trainer = tiny_trainer(folder, max_steps=steps, callbacks=[saving])
        trainer.fit(trained, tiny_data(), ckpt_path=checkpoint)
        return trained

    whole = run(tmp_path / "whole", 6).codec.state_dict()
    run(tmp_path / "cut", stop)
    half = tmp_path / "cut" / f"step={stop}.ckpt"
    assert load(half).quantizer.semantic.codebook_sizes == (16,)  # a model is read without the vectors
    resumed = run(tmp_path / "cut", 6, str(half)).codec
    assert not torch.equal(whole["quantizer.semantic.centroids"], task().codec.quantizer.semantic.centroids)
    assert all(torch.equal(value, whole[name]) for name, value in resumed.state_dict().items())
    assert "gathered" in torch.load(half, weights_only=True) and not resumed.quantizer.semantic.pool.parts
