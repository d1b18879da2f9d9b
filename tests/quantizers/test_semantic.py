"""SemantiCodec's quantizer and features: nested sizes, codes that travel alone, frozen features, long signals."""

from functools import partial
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import SAMPLES
from safetensors.torch import save_file
from torch import Tensor

from neuralcodecs import Codec, CodecError
from neuralcodecs.audio import Audio, OverlapAdd, PatchEncoder
from neuralcodecs.decoders import VocosDecoder
from neuralcodecs.encoders import SpareEncoder
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.quantizers.semantic import Conditional, NestedKMeans

TINY = {"width": 32, "depth": 1, "heads": 2, "stack": 2}


def speech(samples: int) -> Tensor:
    data, _ = soundfile.read(next((SAMPLES / "speech" / "test").glob("*.flac")), stop=samples, dtype="float32")
    return torch.from_numpy(data)[None, None]


def conditional(dim: int = 128) -> Conditional:
    torch.manual_seed(0)
    semantic = partial(NestedKMeans, sizes=(8, 32), gather=1)
    return Conditional(dim, semantic, partial(ResidualVQ, codebooks=1, codebook_size=16), layers=1, hidden=32)


def test_nested_codebooks_serve_features_better_the_larger_they_are() -> None:
    features = PatchEncoder(**TINY)(speech(160000))
    quantizer = NestedKMeans(features.shape[1], (8, 32, 64), gather=1)
    fresh = (quantizer.eval()(features).latents - features).square().mean()
    quantizer.train()(features)
    quantizer.update()
    before = quantizer.centroids.clone()
    errors = []
    for size in (8, 32, 64):
        quantizer.size = size
        codes = quantizer.eval().encode(features)
        assert codes.max() < size and len(codes.unique()) > size // 2
        errors.append((quantizer.decode(codes) - features).square().mean())
    assert errors[2] < errors[1] < errors[0] < fresh
    assert errors[0] < features.var(dim=(0, 2), correction=0).mean()
    quantizer.train()(features + 1)
    quantizer.update()
    assert torch.equal(quantizer.centroids, before)


def test_training_draws_sizes() -> None:
    quantizer = NestedKMeans(4, (2, 64))
    latents = torch.randn(1, 4, 500)
    largest = {int(quantizer.train()(latents).codes.max()) for _ in range(20)}
    assert min(largest) < 2 < max(largest)


def test_codes_alone_give_the_latents_and_the_acoustic_ones_are_told_the_semantic_choice() -> None:
    quantizer = conditional()
    features = PatchEncoder(**TINY)(speech(60000))
    latents = torch.cat([features, torch.zeros_like(features)], dim=1)
    quantizer.train()(latents)
    quantizer.update()
    quantizer.train()(latents)
    quantizer.update()
    quantizer.eval()
    codes = quantizer.encode(latents)
    quantized = quantizer(latents)
    assert torch.equal(codes, quantized.codes) and codes.shape[1] == 2
    assert torch.equal(quantizer.decode(codes), quantized.latents)
    assert torch.equal(quantizer.decode(codes[:, :1])[:, 64:], quantized.latents[:, 64:])
    assert not quantizer.decode(codes[:, :1])[:, :64].any()
    quantizer.semantic.size = 8
    assert not torch.equal(quantizer.encode(latents)[:, 1], codes[:, 1])


def test_gradients_reach_the_network_and_not_the_features() -> None:
    quantizer = conditional().train()
    latents = torch.randn(2, 128, 20, requires_grad=True)
    quantized = quantizer(latents)
    (quantized.latents.square().mean() + sum(quantized.losses.values())).backward()
    assert all(p.grad is not None and p.grad.any() for p in quantizer.parameters())
    assert not any(p.requires_grad for p in PatchEncoder(**TINY).parameters())


def test_long_signals_are_windows_and_come_back_as_long() -> None:
    codec = Codec(
        Audio(16000),
        SpareEncoder(PatchEncoder(seconds=0.96, **TINY), spare=-1),
        lambda dim: conditional(dim),
        partial(VocosDecoder, width=16, hidden=16, blocks=1, window=1280),
        OverlapAdd(15360, 0.0625),
    ).eval()
    for length in (1, 2560, 15361, 40000):
        codes = codec.encode(speech(length))
        assert codec.decode(codes).shape == (1, 1, length)
        assert tuple(codes["codes"].shape[2:]) == codec.grid((length,))
    with pytest.raises(CodecError, match="give the codec an OverlapAdd"):
        codec.encoder(speech(20000))


def test_features_are_loaded_or_refused(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = PatchEncoder(**TINY)
    save_file(source.features.state_dict(), tmp_path / "good.safetensors")
    torch.manual_seed(2)
    loaded = PatchEncoder(**TINY, weights=str(tmp_path / "good.safetensors"))
    for name, value in source.features.state_dict().items():
        assert torch.equal(loaded.features.state_dict()[name], value)
    save_file({"embed.bias": source.features.state_dict()["embed.bias"]}, tmp_path / "part.safetensors")
    (tmp_path / "text.safetensors").write_text("no")
    for name in ("none", "text"):
        with pytest.raises(CodecError, match="holds no features of this size"):
            PatchEncoder(**TINY, weights=str(tmp_path / f"{name}.safetensors"))
    with pytest.raises(CodecError, match="lacks"):
        PatchEncoder(**TINY, weights=str(tmp_path / "part.safetensors"))
