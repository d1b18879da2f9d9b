"""Accelerated codecs give the codes and signals of the codec; what makes them fast is a GPU's."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from conftest import SAMPLES, unchecked
from generative import flow_speech_codec

from neuralcodecs import Codec, CodecError
from neuralcodecs.accelerated import MOST_SHAPES, accelerated
from neuralcodecs.audio import Audio, files
from neuralcodecs.decoders import DACDecoder, SEANetDecoder
from neuralcodecs.encoders import DACEncoder, SEANetEncoder
from neuralcodecs.quantizers import ResidualVQ

CUDA = pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")])
DEVICES = pytest.mark.parametrize("device", ["cpu", CUDA])


def seanet() -> Codec:
    settings: dict[str, Any] = {"filters": 8, "ratios": (4, 5), "lstm_layers": 2}
    quantizer = partial(ResidualVQ, codebooks=2, codebook_size=64)
    encoder, decoder = SEANetEncoder(dim=16, **settings), partial(SEANetDecoder, **settings)
    return with_codebooks(Codec(Audio(24000), encoder, quantizer, decoder))


def dac() -> Codec:
    decoder = partial(DACDecoder, width=32, ratios=(4, 5))
    quantizer = partial(ResidualVQ, codebooks=2, codebook_size=64)
    return with_codebooks(Codec(Audio(24000), DACEncoder(1, 16, 8, ratios=(4, 5)), quantizer, decoder))


def with_codebooks(codec: Codec) -> Codec:
    with torch.no_grad():
        spread = codec.encoder(speech(3000)).std()
    codec.quantizer.load_codebooks(spread * torch.randn_like(codec.quantizer.codebooks))
    return codec.eval()


def speech(length: int, start: int = 20000) -> torch.Tensor:
    path = sorted((SAMPLES / "speech" / "test").glob("*.flac"))[0]
    signal = files.read(path, 24000, 1)[0]
    return torch.stack([signal[:, start + 500 * i : start + 500 * i + length] for i in range(2)])


@pytest.fixture
def compilable() -> Iterator[None]:
    with unchecked():
        yield


@DEVICES
@pytest.mark.parametrize("make", [seanet, dac])
def test_codes_and_signals_are_those_of_the_codec(
    make: Any, device: str, compilable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    codec = make().to(device)
    fast = accelerated(codec)
    for length in (4000, 4000, 5003, 4000):
        signal = speech(length).to(device)
        codes = codec.encode(signal)
        agreeing = (fast.encode(signal)["codes"] == codes["codes"]).float().mean()
        assert agreeing > 0.99  # but for near ties
        torch.testing.assert_close(fast.decode(codes), codec.decode(codes), rtol=1e-4, atol=1e-5)


@DEVICES
def test_results_are_not_overwritten_and_new_weights_are_seen(device: str) -> None:
    codec = seanet().to(device)
    fast = accelerated(codec, compiled=False)
    first = fast.decode(codec.encode(speech(4000).to(device)))
    kept = first.clone()
    fast.decode(codec.encode(speech(4000, 40000).to(device)))
    assert torch.equal(first, kept)
    with torch.no_grad():
        codec.decoder.layers[0].conv.bias.add_(1.0)
    codes = codec.encode(speech(4000).to(device))
    torch.testing.assert_close(fast.decode(codes), codec.decode(codes), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(fast.decode(codes), first, atol=1e-3)


def test_other_dtypes_are_refused_on_a_cpu() -> None:
    with pytest.raises(CodecError, match=r"on a CPU networks run in torch.float32.*leave out torch.bfloat16"):
        accelerated(seanet(), torch.bfloat16)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_in_bfloat16_the_networks_are_copies_and_the_quantizer_is_shared() -> None:
    codec = seanet().to("cuda")
    fast = accelerated(codec, torch.bfloat16, compiled=False)
    assert codec.dtype == torch.float32 and fast.dtype == torch.bfloat16 and fast.quantizer is codec.quantizer
    signal = speech(8000).cuda()
    codes = codec.encode(signal)
    ours, theirs = fast.decode(codes), codec.decode(codes)
    assert ours.dtype == torch.float32 and (ours - theirs).norm() < 3e-2 * theirs.norm()
    with torch.no_grad():
        latents, plain = fast.encoder(signal), codec.encoder(signal)
    assert latents.dtype == torch.float32 and (latents - plain).norm() < 3e-2 * plain.norm()


@DEVICES
def test_more_shapes_than_it_keeps(device: str) -> None:
    codec = seanet().to(device)
    fast = accelerated(codec, compiled=False)
    for index in range(MOST_SHAPES + 2):
        signal = speech(2000 + 20 * index).to(device)
        assert fast.encode(signal)["codes"].shape == codec.encode(signal)["codes"].shape
    assert len(fast.encoder.replayed._recorded) == (MOST_SHAPES if device == "cuda" else 0)


def test_the_lstm_of_a_compiled_network_is_the_lstm(compilable: None) -> None:
    network = seanet().encoder
    torch._dynamo.reset()
    with torch.no_grad(), torch._dynamo.config.patch(allow_rnn=True):
        whole = torch.compile(network, backend="eager", fullgraph=True, dynamic=False)
        torch.testing.assert_close(whole(speech(2000)), network(speech(2000)))


def test_a_generative_decoder_is_refused() -> None:
    with pytest.raises(CodecError, match="generative decoder"):
        accelerated(flow_speech_codec())
