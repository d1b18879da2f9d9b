"""Codes through real files: exact, small, refused when wrong."""

from pathlib import Path

import pytest
import soundfile
import torch
from examples import clip, make_codec

from neuralcodecs import Codec, CodecError, Codes
from neuralcodecs.bitrates import levels_for, nominal_rates
from neuralcodecs.files import decode_file, encode_file, read_codes, write_codes
from neuralcodecs.medium import SignalInfo


@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("samples", [1, 319, 8000, 170_001])
def test_codes_come_back_exactly(tmp_path: Path, segmented: bool, samples: int) -> None:
    codec = make_codec(segmented=segmented)
    codes = codec.encode(0.1 * torch.randn(1, 1, samples))
    info = SignalInfo(16000, 1, (samples,))
    write_codes(tmp_path / "a.ncs", codec, codes, info)
    read, original = read_codes(tmp_path / "a.ncs", codec)
    assert original == info and read.shapes == codes.shapes and [s.name for s in read] == [s.name for s in codes]
    assert all(torch.equal(a.values, b.values) and a.alphabet == b.alphabet for a, b in zip(read, codes, strict=True))
    assert torch.equal(codec.decode(read), codec.decode(codes))


def test_long_files_are_cut_into_chunks_that_begin_with_a_piece(tmp_path: Path) -> None:
    from neuralcodecs.bitstream import Reader

    codec = make_codec(segmented=True)
    codes = codec.encode(0.1 * torch.randn(1, 1, 16000 * 25))
    write_codes(tmp_path / "a.ncs", codec, codes, SignalInfo(16000, 1, (16000 * 25,)))
    with (tmp_path / "a.ncs").open("rb") as file:
        chunks = list(Reader(file))
    assert len(chunks) == 3
    starts = {0}
    for ((begin, stop),) in codec.pieces((16000 * 25,)):
        starts.add(max(starts) + codec.encoder.frames((stop - begin,))[0])
    for chunk in chunks:
        frames, scale = chunk.starts
        assert frames in starts and scale == sorted(starts).index(frames)


def test_ten_seconds_at_six_kbits_cost_what_they_should(tmp_path: Path) -> None:
    from functools import partial

    from neuralcodecs.audio import Audio
    from neuralcodecs.decoders import SEANetDecoder
    from neuralcodecs.encoders import SEANetEncoder
    from neuralcodecs.quantizers import ResidualVQ

    small = {"filters": 2, "lstm_layers": 0}
    codec = Codec(
        Audio(24000), SEANetEncoder(dim=2, **small), partial(ResidualVQ, codebooks=8), partial(SEANetDecoder, **small)
    ).eval()
    codes = codec.encode(torch.randn(1, 1, 240_000))
    assert float(codec.bits(codes)[0]) == 60_000
    assert write_codes(tmp_path / "a.ncs", codec, codes, SignalInfo(24000, 1, (240_000,))) <= 7500 * 1.015


def test_a_file_round_trip_keeps_rate_channels_and_length(tmp_path: Path) -> None:
    codec, source = make_codec(rate=24000), clip(tmp_path)
    data, rate = soundfile.read(source)
    soundfile.write(tmp_path / "stereo.flac", torch.tensor(data)[:, None].repeat(1, 2).numpy(), rate)
    for path in (source, tmp_path / "stereo.flac"):
        encode_file(codec, path, tmp_path / "a.ncs")
        decode_file(codec, tmp_path / "a.ncs", tmp_path / "b.wav")
        before, after = soundfile.info(path), soundfile.info(tmp_path / "b.wav")
        assert (after.frames, after.samplerate, after.channels) == (before.frames, before.samplerate, before.channels)


def test_every_flipped_bit_and_every_truncation_is_refused(tmp_path: Path) -> None:
    codec = make_codec()
    path = tmp_path / "a.ncs"
    write_codes(path, codec, codec.encode(torch.randn(1, 1, 900)), SignalInfo(16000, 1, (900,)))
    good = path.read_bytes()
    for position in range(8 * len(good)):
        damaged = bytearray(good)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(CodecError):
            read_codes(path, codec)
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(CodecError):
            read_codes(path, codec)


def test_another_model_is_refused_and_a_swapped_decoder_is_not(tmp_path: Path) -> None:
    codec, other = make_codec(0), make_codec(1)
    source, path = clip(tmp_path), tmp_path / "a.ncs"
    encode_file(codec, source, path)
    with pytest.raises(CodecError, match=r"made by model [0-9a-f]{16}, not by [0-9a-f]{16}"):
        decode_file(other, path, tmp_path / "b.wav")
    assert not (tmp_path / "b.wav").exists()
    codec.decoder = other.decoder
    decode_file(codec, path, tmp_path / "b.wav")


def test_bitrates_become_levels() -> None:
    codec = make_codec(rate=24000)
    rates = nominal_rates(codec)
    assert len(rates) == 4 and rates[3] == pytest.approx(4 * rates[0])
    assert [levels_for(codec, r) for r in rates] == [1, 2, 3, 4] and levels_for(codec, 99.0) == 4
    with pytest.raises(CodecError, match=r"starts at 0\.443 kbit/s"):
        levels_for(codec, 0.1)


def test_a_forged_file_without_its_scales_is_refused(tmp_path: Path) -> None:
    codec = make_codec(segmented=True)
    codes = codec.encode(torch.randn(1, 1, 9000))
    write_codes(tmp_path / "a.ncs", codec, Codes(codes.streams[:1], codes.shapes), SignalInfo(16000, 1, (9000,)))
    with pytest.raises(CodecError, match="side streams"):
        read_codes(tmp_path / "a.ncs", codec)
