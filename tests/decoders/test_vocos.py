"""Vocos on random weights gives the published package's waveform, from mel spectrograms and at every EnCodec bitrate.

The package is looked for as installed; ``pip install --no-deps --target FOLDER vocos`` and FOLDER in PYTHONPATH do too.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
import torch
from conftest import SAMPLES
from torch import Tensor, nn

from neuralcodecs import Codec, CodecError
from neuralcodecs.audio import Audio, LogMelEncoder
from neuralcodecs.audio.spectral import STFT
from neuralcodecs.convert import decoder_from_vocos, from_vocos
from neuralcodecs.decoders import VocosDecoder
from neuralcodecs.decoders.vocos import InverseSTFT
from neuralcodecs.encoders import SEANetEncoder, SpareEncoder
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.quantizers.announced import Announced
from neuralcodecs.quantizers.rounded import Rounded

TOLERANCE = 1e-5


def speech(samples: int) -> Tensor:
    data, _ = soundfile.read(next((SAMPLES / "speech" / "test").glob("*.flac")), stop=samples, dtype="float32")
    return torch.from_numpy(data)[None, None]


@torch.no_grad()
def livelier(model: nn.Module) -> nn.Module:
    """Random weights of which every one is told from zero and one: fresh norms would hide a wrong name."""
    for parameter in model.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def published(conditions: int | None, padding: str, features: nn.Module, width: int = 48) -> Any:
    vocos = pytest.importorskip("vocos", reason="the vocos package is not installed")
    hop, window, dim = (256, 1024, 100) if conditions is None else (320, 1280, 128)
    backbone = vocos.models.VocosBackbone(dim, width, 3 * width, 8, adanorm_num_embeddings=conditions)
    head = vocos.heads.ISTFTHead(width, window, hop, padding)
    head.istft.hop_length = hop
    return livelier(vocos.Vocos(features, backbone, head))


@pytest.mark.parametrize("padding", ["center", "same"])
def test_mel_model_equals_the_published_one(padding: str) -> None:
    pytest.importorskip("vocos", reason="the vocos package is not installed")
    from vocos.feature_extractors import MelSpectrogramFeatures

    model = published(None, padding, MelSpectrogramFeatures(padding=padding))
    codec = from_vocos(model)
    signal = speech(256 * 90)
    features = model.feature_extractor(signal[:, 0])
    latents = codec.encoder(signal)
    assert latents.shape == features.shape
    assert (latents - features).abs().max() <= 1e-4  # logarithms down to -16 of sums in another order
    theirs = model.decode(features)
    ours = codec.decoder(features)[:, 0]
    assert theirs.abs().max() > 0.01
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max()


def test_every_bitrate_of_encodec_codes_equals_the_published_one() -> None:
    model = published(4, "same", nn.Identity())
    decoder = decoder_from_vocos(model, 129)
    features = torch.randn(1, 128, 40)
    outputs = []
    for bitrate in range(4):
        theirs = model.decode(features, bandwidth_id=torch.tensor([bitrate]))
        ours = decoder(torch.cat((features, torch.full((1, 1, 40), float(bitrate))), dim=1))[:, 0]
        assert (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max()
        outputs.append(ours)
    assert (outputs[0] - outputs[3]).abs().max() > 100 * TOLERANCE


@pytest.mark.parametrize(("options", "dim", "hop", "published"), [({}, 100, 256, 13.5), ("encodec", 129, 320, 7.9)])
def test_published_sizes(options: Any, dim: int, hop: int, published: float) -> None:
    chosen = {"width": 384, "hidden": 1152, "window": 1280, "conditions": 4} if options == "encodec" else options
    with torch.device("meta"):
        decoder = VocosDecoder(dim, 1, (hop,), **chosen)
    size = sum(p.numel() for p in decoder.parameters())
    assert size // 100_000 == round(10 * published)  # the paper cuts 7.98 million to 7.9


@pytest.mark.parametrize(("padding", "mirrored"), [("center", 512), ("same", 384)])
def test_inverse_of_the_transform_is_the_signal(padding: Any, mirrored: int) -> None:
    signal = speech(256 * 40)
    spectrum = STFT(1024, 256, mirrored)(signal)
    assert (InverseSTFT(1024, 256, padding)(spectrum) - signal).abs().max() <= TOLERANCE


@pytest.mark.parametrize("length", [1, 255, 256, 257, 5000])
@pytest.mark.parametrize("padding", ["center", "same"])
def test_any_length_comes_back_as_long(padding: Any, length: int) -> None:
    network = partial(VocosDecoder, width=16, hidden=16, blocks=1, padding=padding)
    codec = Codec(Audio(24000), LogMelEncoder(padding=padding), Rounded, network).eval()
    codes = codec.encode(speech(length))
    assert codes["codes"].shape == (1, 100, *codec.grid((length,)))
    assert codec.decode(codes).shape == (1, 1, length)


def test_rounding_costs_half_a_step_and_training_none() -> None:
    latents = LogMelEncoder()(speech(9000))
    quantizer = Rounded(100)
    assert torch.equal(quantizer(latents).latents, latents)
    decoded = quantizer.decode(quantizer.eval().encode(latents))
    assert (decoded - latents).abs().max() <= quantizer.step / 2 + 1e-5
    assert torch.equal(quantizer(latents).latents, decoded)
    assert torch.equal(quantizer.decode(quantizer.encode(latents, 3))[:, 3:], torch.full((1, 97, 37), -16.2))


def test_the_bitrate_reaches_the_decoder() -> None:
    torch.manual_seed(0)
    codec = Codec(
        Audio(24000),
        SpareEncoder(SEANetEncoder(dim=8, filters=4, lstm_layers=0)),
        partial(Announced, quantizer=partial(ResidualVQ, codebooks=4, codebook_size=16, levels=(1, 2, 4))),
        partial(VocosDecoder, width=16, hidden=16, blocks=1, window=1280, conditions=3),
    ).eval()
    seen: list[SimpleNamespace] = []
    codec.decoder.register_forward_pre_hook(lambda _, given: seen.append(SimpleNamespace(last=given[0][:, -1])))
    for levels, number in ((1, 0), (2, 1), (3, 1), (4, 2)):
        decoded = codec.decode(codec.encode(speech(3000), levels))
        assert decoded.shape == (1, 1, 3000)
        assert set(seen[-1].last.flatten().tolist()) == {number}


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(CodecError, match="one axis"):
        VocosDecoder(8, 1, (2, 2))
    with pytest.raises(CodecError, match="two hops or more"):
        VocosDecoder(8, 1, (1024,))
    with pytest.raises(CodecError, match="give two or more"):
        Rounded(8, 3.0, 1.0)
