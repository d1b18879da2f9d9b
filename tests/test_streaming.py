"""Streaming is coding the whole signal: for every config, any chunks, many streams, and no more waiting than said."""

from functools import partial

import pytest
import torch
from conftest import SAMPLES
from examples import make_codec
from streaming_codecs import (
    CAUSAL,
    EVERY,
    LOOKING_AHEAD,
    assert_equal_codes,
    chunks_of,
    codec_of,
    signal_for,
    streamed_codes,
    streamed_signal,
)
from torch import nn

from neuralcodecs import Codec, CodecError, Codes
from neuralcodecs.audio import Audio, OverlapAdd, RootMeanSquare
from neuralcodecs.decoders import SEANetDecoder
from neuralcodecs.encoders import SEANetEncoder
from neuralcodecs.layers import State
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.streaming import decode_blocks, encode_blocks

CHUNKINGS = 50
TOLERANCE = 1e-5  # of the waveform, whose values are around 0.1 to 1


@pytest.mark.parametrize("name", EVERY)
def test_streamed_codes_and_signals_are_those_of_the_whole(name: str) -> None:
    codec = codec_of(name)
    signal = signal_for(codec, codec.medium.rate * (3 if name == "encodec_48khz" else 1) + 1234)
    offline = codec.encode(signal)
    decoded = codec.decode(offline)
    assert decoded.abs().max() > 1000 * TOLERANCE, "too quiet to tell anything"
    assert all(len(row.unique()) > min(20, row.numel() / 4) for row in offline["codes"][0])
    for _ in range(CHUNKINGS):
        pieces = streamed_codes(codec, list(chunks_of(signal)))
        assert_equal_codes(pieces, offline)
        output = streamed_signal(codec, pieces)
        assert output.shape == decoded.shape
        assert (output - decoded).abs().max() <= TOLERANCE


@pytest.mark.parametrize("name", EVERY)
def test_signals_of_every_length(name: str) -> None:
    codec = codec_of(name)
    hop = codec.encoder.strides[0]
    for length in (0, 1, 5, hop - 1, hop, hop + 1, 7 * hop, 7 * hop + 1):
        signal = signal_for(codec, length)
        pieces = streamed_codes(codec, list(chunks_of(signal)) or [signal], levels=2)
        if length:
            offline = codec.encode(signal, 2)
            assert_equal_codes(pieces, offline)
            torch.testing.assert_close(streamed_signal(codec, pieces), codec.decode(offline), rtol=0, atol=TOLERANCE)
        else:
            assert streamed_signal(codec, pieces).shape == (1, codec.medium.channels, 0)
