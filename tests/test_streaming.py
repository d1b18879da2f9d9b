"""Streaming is coding the whole signal: for every config, any chunks, many streams, and no more waiting than said."""

import copy
from functools import partial

import pytest
import torch
from streaming_codecs import (
    CAUSAL,
    DIFFERENT,
    EVERY,
    LOOKING_AHEAD,
    assert_equal_codes,
    chunks_of,
    codec_of,
    signal_for,
    streamed_codes,
    streamed_signal,
)
from torch import Tensor

from neuralcodecs import Codec, CodecError, Codes
from neuralcodecs.audio import Audio, RootMeanSquare
from neuralcodecs.codec import Encoder
from neuralcodecs.decoders import CNNDecoder, SEANetDecoder
from neuralcodecs.encoders import CNNEncoder, SEANetEncoder
from neuralcodecs.image import Image
from neuralcodecs.layers import State
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.streaming import decode_blocks, encode_blocks

TOLERANCE = 1e-5  # of the waveform, whose values are around 0.1


def assert_streamed_as_the_whole(name: str, chunkings: int) -> None:
    codec = codec_of(name)
    signal = signal_for(codec, codec.medium.rate * (3 if name == "encodec_48khz" else 1) + 1234)
    offline = codec.encode(signal)
    decoded = codec.decode(offline)
    assert decoded.abs().max() > 1000 * TOLERANCE, "too quiet to tell anything"
    assert all(len(row.unique()) > min(30, row.numel() / 2) for row in offline["codes"][0])
    for _ in range(chunkings):
        pieces = streamed_codes(codec, list(chunks_of(signal)))
        assert_equal_codes(pieces, offline)
        output = streamed_signal(codec, pieces)
        assert output.shape == decoded.shape
        assert (output - decoded).abs().max() <= TOLERANCE


@pytest.mark.parametrize("name", DIFFERENT)
def test_streamed_codes_and_signals_are_those_of_the_whole(name: str) -> None:
    assert_streamed_as_the_whole(name, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_fifty_chunkings(name: str) -> None:
    assert_streamed_as_the_whole(name, 50)


@pytest.mark.parametrize("name", DIFFERENT)
def test_signals_of_every_length(name: str) -> None:
    codec = codec_of(name)
    hop = codec.encoder.strides[0]
    for length in (0, 1, hop, 7 * hop + 1):
        signal = signal_for(codec, length)
        pieces = streamed_codes(codec, list(chunks_of(signal)) or [signal], levels=2)
        if length:
            offline = codec.encode(signal, 2)
            assert_equal_codes(pieces, offline)
            torch.testing.assert_close(streamed_signal(codec, pieces), codec.decode(offline), rtol=0, atol=TOLERANCE)
        else:
            assert streamed_signal(codec, pieces).shape == (1, codec.medium.channels, 0)


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_codecs_wait_for_their_frame_only(name: str) -> None:
    codec = codec_of(name)
    (hop,) = codec.encoder.strides
    # reflection shows the first convolutions 6 later positions: each is waited for, at the start only
    start = 7 * hop if name == "encodec_24khz" else hop
    assert codec.latency == (hop, 0, start)


@torch.no_grad()
@pytest.mark.parametrize("name", [*CAUSAL, *LOOKING_AHEAD])
def test_latency_is_what_later_samples_can_change(name: str) -> None:
    """In the middle of a signal: the last sample that counts does, and the one after it does not."""
    codec = codec_of(name)
    codec, (hop,), latency = copy.deepcopy(codec).double(), codec.encoder.strides, codec.latency
    frame = 30
    signal = signal_for(codec, 60 * hop).double()
    latents = codec.encoder(signal)
    last = frame * hop + latency.encoder - 1
    for sample, counts in ((last, True), (last + 1, False)):
        changed = signal.clone()
        changed[..., sample:] += 1
        others = codec.encoder(changed)
        assert torch.equal(others[..., :frame], latents[..., :frame])
        assert torch.equal(others[..., frame], latents[..., frame]) is not counts
    output = codec.decoder(latents)
    differs = codec.decoder(torch.cat([latents[..., :frame], latents[..., frame:] + 1], dim=-1)) != output
    first = int(differs[0, 0].nonzero()[0])
    assert frame * hop - first == latency.decoder


@torch.no_grad()
@pytest.mark.parametrize("name", DIFFERENT)
def test_a_sample_is_decoded_no_later_than_latency_says(name: str) -> None:
    codec = codec_of(name)
    latency, (hop,) = codec.latency, codec.encoder.strides
    size = max(hop // 4, latency.encoder // 40)
    signal = signal_for(codec, 2 * latency.start + 12 * hop)
    encoder, decoder = codec.encoder_stream(), codec.decoder_stream()
    state, decoding, given, decoded, worst = encoder.start(), decoder.start(), 0, 0, 0
    for chunk in signal.split(size, dim=-1):
        given += chunk.shape[-1]
        codes, state = encoder.push(chunk, state)
        output, decoding = decoder.push(codes, decoding)
        decoded += output.shape[-1]
        assert decoded == 0 or given >= latency.start
        if given >= latency.start:
            assert given - decoded < latency.encoder + latency.decoder
            worst = max(worst, given - decoded)
    assert worst >= latency.encoder + latency.decoder - hop - 2 * size


@pytest.mark.parametrize("name", ["encodec_24khz_constant", "mimi_24khz", "dac_24khz", "encodec_48khz"])
def test_streams_of_one_codec_start_and_stop_when_they_like(name: str) -> None:
    """Three streams, started a chunk apart; those at the same place are coded as a batch."""
    codec = codec_of(name)
    size = 2 * codec.encoder.strides[0] + (24000 if name == "encodec_48khz" else 0)
    signals = [signal_for(codec, size * n + 77)[..., size * i :] for i, n in enumerate((6, 7, 9))]
    encoder, decoder = codec.encoder_stream(), codec.decoder_stream()
    states, decodings = [encoder.start() for _ in signals], [decoder.start() for _ in signals]
    codes: list[list[Codes]] = [[] for _ in signals]
    outputs: list[list[Tensor]] = [[] for _ in signals]
    for turn in range(10):
        busy = [i for i, s in enumerate(signals) if i <= turn and s.shape[-1] > (turn - i) * size]
        chunks = [signals[i][..., (turn - i) * size : (turn - i + 1) * size] for i in busy]
        pushed = encoder.push_each(chunks, [states[i] for i in busy])
        played = decoder.push_each([new for new, _ in pushed], [decodings[i] for i in busy])
        for i, (new, state), (output, decoding) in zip(busy, pushed, played, strict=True):
            states[i], decodings[i] = state, decoding
            codes[i].append(new)
            outputs[i].append(output)
    for signal, state, decoding, pieces, output in zip(signals, states, decodings, codes, outputs, strict=True):
        last, _ = encoder.flush(state)
        offline = codec.encode(signal)
        assert_equal_codes([*pieces, last], offline)
        rest, decoding = decoder.push(last, decoding)
        whole = torch.cat([*output, rest, decoder.flush(decoding)[0]], dim=-1)
        assert (whole - codec.decode(offline)).abs().max() <= TOLERANCE


def test_a_running_stream_and_a_new_one_fit_in_one_batch() -> None:
    """No position is kept that would tell them apart: one call serves callers that came at different times."""
    for name in ("encodec_24khz_constant", "mimi_24khz"):
        codec = codec_of(name)
        encoder = codec.encoder_stream()
        chunk = signal_for(codec, 2 * codec.encoder.strides[0])
        begun = [encoder.push(chunk, encoder.start())[1] for _ in range(2)]
        later = encoder.push(chunk, encoder.push(chunk, begun[0])[1])[1]
        assert State.stack([begun[1], later]).tensors[0].shape[0] == 2


def test_blocks_of_one_signal_however_large() -> None:
    codec = codec_of("encodec_48khz")
    signal = signal_for(codec, 130_001)
    offline = codec.encode(signal, 2)
    codes = list(encode_blocks(codec.encoder_stream(2), [signal[0, :, :100], signal[0, :, 100:]], step=50_000))
    assert_equal_codes(codes, offline)
    assert len(codes) == 3
    output = torch.cat(list(decode_blocks(codec.decoder_stream(), codes)), dim=-1)
    torch.testing.assert_close(output[None], codec.decode(offline), rtol=0, atol=TOLERANCE)
    assert list(encode_blocks(codec.encoder_stream(), [])) == []


def test_what_cannot_be_streamed_says_why() -> None:
    network = {"filters": 2, "lstm_layers": 0}
    parts = partial(ResidualVQ, codebooks=1, codebook_size=4), partial(SEANetDecoder, **network)
    scaled = Codec(Audio(16000), SEANetEncoder(dim=4, **network), *parts, scaler=RootMeanSquare())
    with pytest.raises(CodecError, match="the scale is that of the whole signal"):
        scaled.encoder_stream()
    network |= {"causal": False, "norm": "time_group_norm"}
    normed = Codec(Audio(16000), SEANetEncoder(dim=4, **network), *parts)
    for ask in (normed.encoder_stream, normed.decoder_stream, lambda: normed.latency):
        with pytest.raises(CodecError, match="time_group_norm is computed over the whole signal"):
            ask()
    picture = Codec(Image(), CNNEncoder(3, 4, 8, (1, 1), 1), parts[0], partial(CNNDecoder, width=8, multipliers=(1, 1)))
    with pytest.raises(CodecError, match="signals of 2 axes are not streamed"):
        picture.decoder_stream()
    other = Codec(Audio(16000), Own(), *parts[:1], partial(SEANetDecoder, filters=2, lstm_layers=0))
    with pytest.raises(CodecError, match="Own cannot be streamed: it does not say how far it looks ahead"):
        other.encoder_stream()


class Own(Encoder):
    """A user's encoder that has no streaming methods."""

    channels, dim, strides = 1, 4, (320,)

    def forward(self, signal: Tensor) -> Tensor:
        return signal.unfold(2, 320, 320).mean(-1).expand(-1, 4, -1)

    def frames(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0] // 320,)


def test_wrong_chunks_are_refused() -> None:
    codec = codec_of("encodec_24khz_constant")
    encoder, decoder = codec.encoder_stream(), codec.decoder_stream()
    with pytest.raises(CodecError, match=r"chunk of shape \(2, 1, 10\): this state is of \(1, 1, samples\)"):
        encoder.push(torch.zeros(2, 1, 10), encoder.start())
    codes = codec.encode(signal_for(codec, 3200))
    with pytest.raises(CodecError, match="streams of one batch advance together"):
        decoder.push(codes, decoder.start(2))
    with pytest.raises(CodecError, match="99 levels asked for"):
        codec.encoder_stream(99)
    pieces = codec_of("encodec_48khz")
    short = pieces.encode(signal_for(pieces, 40_000))
    with pytest.raises(CodecError, match="codes end before the piece of 48000 samples"):
        pieces.decoder_stream().push(Codes(short.streams, ((48_000,),)), pieces.decoder_stream().start())
