"""Accelerated codecs give the codes and signals of the codec; what makes them fast is a GPU's."""

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from conftest import SAMPLES, unchecked
from generative import flow_speech_codec
from hyper_codecs import fresh, photo

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
    assert codec.dtype == torch.float32 and fast.dtype == torch.bfloat16
    assert fast.quantizer.quantizer is codec.quantizer
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
    for replayed in (fast.encoder.replayed, fast.quantizer.encoding):
        assert len(replayed.graphs) == (MOST_SHAPES if device == "cuda" else 0)


@DEVICES
def test_the_quantizer_is_replayed_at_every_level_and_its_results_stay(device: str) -> None:
    codec = seanet().to(device)
    fast = accelerated(codec, compiled=False)
    with torch.no_grad():
        latents = [codec.encoder(speech(4000, start).to(device)) for start in (20000, 40000)]
        for levels in (1, 2):
            found = [fast.quantizer.encode_streams(each, levels) for each in latents]
            assert not torch.equal(found[0][0], found[1][0])
            decoded = [fast.quantizer.decode_streams(streams) for streams in found]
            for each, streams, output in zip(latents, found, decoded, strict=True):
                expected = codec.quantizer.encode_streams(each, levels)
                assert len(streams) == len(expected) == 1 and torch.equal(streams[0], expected[0])
                assert torch.equal(output, codec.quantizer.decode_streams(expected))
    kept = 2 if device == "cuda" else 0
    assert len(fast.quantizer.encoding.graphs) == len(fast.quantizer.decoding.graphs) == kept


class Asking(ResidualVQ):
    """Looks at its codes on the host."""

    def encode(self, latents: torch.Tensor, levels: int | None = None) -> torch.Tensor:
        codes = super().encode(latents, levels)
        assert int(codes.max()) < self.codebook_sizes[0]
        return codes


class Waiting(ResidualVQ):
    """Waits in a way that torch does not report, so that recording fails."""

    def encode(self, latents: torch.Tensor, levels: int | None = None) -> torch.Tensor:
        torch.cuda.synchronize()
        return super().encode(latents, levels)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("kind", [Asking, Waiting])
def test_a_quantizer_that_asks_the_host_goes_on_by_python(kind: type[ResidualVQ]) -> None:
    codec, stream = seanet().cuda(), torch.cuda.current_stream()
    codec.quantizer = kind(16, 2, 64).cuda()
    codec.quantizer.load_codebooks(torch.randn_like(codec.quantizer.codebooks))
    fast, signal = accelerated(codec, compiled=False), speech(4000).cuda()
    with pytest.warns(UserWarning, match="not replayed as a CUDA graph"):
        codes = fast.encode(signal)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = fast.encode(signal)
    assert torch.equal(codes["codes"], again["codes"])
    torch.testing.assert_close(fast.decode(codes), codec.decode(codes), rtol=1e-3, atol=1e-4)
    assert torch.cuda.current_stream() == stream and torch.rand(1000, device="cuda").unique().numel() > 900
    assert len(fast.quantizer.decoding.graphs) == 1


@DEVICES
def test_side_streams_and_coders_are_those_of_the_quantizer(device: str) -> None:
    codec = fresh("none").eval().to(device)
    fast = accelerated(codec, compiled=False)
    signal = photo("test/kodim19.png", 64, 96)[None].to(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on a GPU, that levels are asked of the host
        codes = fast.encode(signal)
    shape = tuple(signal.shape[2:])
    assert fast.sided and fast.layouts(shape, 1) == codec.layouts(shape, 1)
    assert fast.quantizer.coders().keys() == codec.quantizer.coders().keys() != set()
    torch.testing.assert_close(fast.decode(codes), codec.decode(codes), rtol=1e-3, atol=1e-4)


def test_the_lstm_of_a_compiled_network_is_the_lstm(compilable: None) -> None:
    network = seanet().encoder
    torch._dynamo.reset()
    with torch.no_grad(), torch._dynamo.config.patch(allow_rnn=True):
        whole = torch.compile(network, backend="eager", fullgraph=True, dynamic=False)
        torch.testing.assert_close(whole(speech(2000)), network(speech(2000)))


def test_a_generative_decoder_is_refused() -> None:
    with pytest.raises(CodecError, match="generative decoder"):
        accelerated(flow_speech_codec())
