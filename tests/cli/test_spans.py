"""Part of a file and what is left of a damaged one: equal to the whole decode, by reading little."""

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from examples import make_codec, speech

from neuralcodecs import Codec
from neuralcodecs.audio import Audio
from neuralcodecs.bitstream import UNKNOWN, Chunk, Header, Original, Reader, StreamSpec, Writer
from neuralcodecs.cli import main
from neuralcodecs.decoders import SEANetDecoder
from neuralcodecs.encoders import SEANetEncoder
from neuralcodecs.files import encode_file, open_codes, read_codes
from neuralcodecs.pretrained import fingerprint
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.spans import TOLERANCE, decode_span, salvage

STEP = 1 / 32768


def without_memory(causal: bool) -> Codec:
    """A codec whose receptive field is finite."""
    torch.manual_seed(3)
    network = {"filters": 4, "ratios": (8, 5, 4, 2), "lstm_layers": 0, "pad_mode": "constant", "causal": causal}
    codec = Codec(
        Audio(16000),
        SEANetEncoder(dim=8, **network),
        partial(ResidualVQ, codebooks=2, codebook_size=60),
        partial(SEANetDecoder, **network),
    ).eval()
    codec.quantizer.load_codebooks(torch.randn(2, 60, 8))
    return codec


CODECS = {
    "causal": partial(without_memory, True),
    "not causal": partial(without_memory, False),
    "lstm": make_codec,
    "pieces": partial(make_codec, segmented=True),
}


@pytest.fixture(params=sorted(CODECS))
def coded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Codec, Path]]:
    codec = CODECS[request.param]()
    recording(tmp_path / "long.flac", 16000)
    encode_file(codec, tmp_path / "long.flac", tmp_path / "long.ncs")
    yield codec, tmp_path / "long.ncs"


def recording(path: Path, rate: int, seconds: int = 35) -> None:
    """Real speech, repeated to ``seconds``."""
    data, _ = soundfile.read(speech()[0])
    soundfile.write(path, np.resize(data, seconds * rate), rate)


def test_a_span_is_the_slice_of_the_whole(coded: tuple[Codec, Path]) -> None:
    codec, path = coded
    codes, _ = read_codes(path, codec)
    whole = codec.decode(codes)[0]
    with open_codes(path) as reader:
        for first, last in [
            (0, 1),
            (0, 4000),
            (159_999, 160_001),
            (200_123, 320_017),
            (559_000, 560_000),
            (0, 560_000),
        ]:
            part = decode_span(codec, reader, first, last)
            assert part.shape == (1, last - first)
            assert (part - whole[:, first:last]).abs().max() <= TOLERANCE


def test_only_the_chunks_of_the_span_are_read(coded: tuple[Codec, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    codec, path = coded
    read = Reader.read
    seen: list[int] = []
    monkeypatch.setattr(Reader, "read", lambda self, info: (seen.append(info.starts[0]), read(self, info))[1])
    with open_codes(path) as reader:
        starts = [info.starts[0] for info in reader.chunks]
        decode_span(codec, reader, 16000 * 15, 16000 * 16)
    assert len(starts) == 4 and seen == [starts[1]]


@pytest.mark.parametrize("rate", [16000, 44100])
def test_the_command_writes_that_part_at_the_original_rate(tmp_path: Path, rate: int) -> None:
    codec = without_memory(True)
    codec.save_pretrained(tmp_path / "model")
    recording(tmp_path / "a.wav", rate, 14)
    common = ["-m", str(tmp_path / "model"), "--overwrite"]
    assert main(["encode", str(tmp_path / "a.wav"), *common]) == 0
    assert main(["decode", str(tmp_path / "a.ncs"), "-o", str(tmp_path / "whole.wav"), *common]) == 0
    part = ["decode", str(tmp_path / "a.ncs"), "-o", str(tmp_path / "part.wav"), *common]
    assert main([*part, "--from", "9.5", "--to", "12.25"]) == 0
    whole, _ = soundfile.read(tmp_path / "whole.wav")
    decoded, decoded_rate = soundfile.read(tmp_path / "part.wav")
    assert decoded_rate == rate and len(decoded) == round(12.25 * rate) - round(9.5 * rate)
    assert np.abs(decoded - whole[round(9.5 * rate) : round(12.25 * rate)]).max() <= STEP  # rounded to 16 bits apart
    assert main([*part, "--from", "13"]) == 0 and soundfile.info(tmp_path / "part.wav").frames == rate
    assert main([*part, "--to", "99"]) == 0 and soundfile.info(tmp_path / "part.wav").frames == 14 * rate
    assert main([*part, "--from", "14"]) == 2 and main([*part, "--from", "3", "--to", "3"]) == 2
    assert main([*part, "--from", "nan"]) == 2


@pytest.mark.parametrize("name", sorted(CODECS))
def test_salvage_keeps_all_but_the_damaged_chunk(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codec = CODECS[name]()
    codec.save_pretrained(tmp_path / "model")
    recording(tmp_path / "a.wav", 16000)
    common = ["-m", str(tmp_path / "model"), "--overwrite"]
    assert main(["encode", str(tmp_path / "a.wav"), *common]) == 0
    path, out = tmp_path / "a.ncs", tmp_path / "out.wav"
    decode = ["decode", str(path), "-o", str(out), *common]
    assert main([*decode, "--salvage"]) == 0
    assert main(decode) == 0
    whole, _ = soundfile.read(out)
    with open_codes(path) as reader:
        second = reader.chunks[1]
    data = bytearray(path.read_bytes())
    data[second.payload + 5] ^= 1
    path.write_bytes(data)
    capsys.readouterr()
    out.unlink()
    assert main(decode) == 2 and "salvage" in capsys.readouterr().err and not out.exists()
    assert main([*decode, "--salvage"]) == 3
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and "damaged: " in error[0] and " s" in error[0]
    start, stop = (round(float(w) * 16000) for w in error[0].split("damaged: ")[1].removesuffix(" s").split(" to "))
    rest, _ = soundfile.read(out)
    assert len(rest) == len(whole) and 9 * 16000 <= start < stop <= 21 * 16000 and stop - start <= 11 * 16000
    assert not rest[start + 8 : stop - 8].any()
    far = 8000  # samples after a gap in which a decoder without pieces starts afresh
    assert np.abs(rest[: start - far] - whole[: start - far]).max() <= 2 * STEP
    assert np.abs(rest[stop + far :] - whole[stop + far :]).max() <= 2 * STEP
    path.write_bytes(path.read_bytes()[:30])
    assert main([*decode, "--salvage"]) == 2


def test_a_recording_that_was_cut_off_keeps_what_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec = without_memory(True)
    codec.save_pretrained(tmp_path / "model")
    codes = codec.encode(0.1 * torch.randn(1, 1, 16000 * 3))["codes"][0].numpy()
    streams = (StreamSpec("codes", (60, 60), (UNKNOWN,)),)
    header = Header(fingerprint(codec), 16000, 1, (UNKNOWN,), streams, Original(48000, 2, (UNKNOWN,)))
    path, out = tmp_path / "a.ncs", tmp_path / "a.wav"
    with path.open("wb") as file:
        writer = Writer(file, header)
        for start in (0, 50, 100):
            writer.append(Chunk((start,), (codes[:, start : start + 50],)))
        whole = writer.size
        writer.finish(48000, 144_000)
    decode = ["decode", str(path), "-o", str(out), "-m", str(tmp_path / "model"), "--overwrite"]
    assert main(decode) == 0 and soundfile.info(out).frames == 144_000
    assert main([*decode, "--from", "1", "--to", "1.5"]) == 0 and soundfile.info(out).frames == 24_000
    assert main([*decode, "--salvage"]) == 0
    path.write_bytes(path.read_bytes()[:whole])
    assert main(decode) == 2
    capsys.readouterr()
    assert main([*decode, "--salvage"]) == 3
    assert "the end is missing: what followed 3.000 s is lost" in capsys.readouterr().err
    info = soundfile.info(out)
    assert (info.frames, info.samplerate, info.channels) == (144_000, 48000, 2)


def test_a_recording_in_pieces_that_was_cut_off_keeps_every_whole_piece(tmp_path: Path) -> None:
    codec, path = make_codec(segmented=True), tmp_path / "a.ncs"
    signal = 0.1 * torch.randn(1, 1, 16000 * 3 + 77)
    codes = codec.encode(signal)
    whole = codec.decode(codes)[0]
    frames, scales = (stream.values[0].numpy() for stream in codes)
    streams = tuple(StreamSpec(s.name, tuple(s.alphabet), (UNKNOWN,)) for s in codes)
    header = Header(fingerprint(codec), 16000, 1, (UNKNOWN,), streams)
    sizes, file = [], io.BytesIO()
    writer = Writer(file, header)
    for index in range(scales.shape[1]):
        part = slice(25 * index, 25 * index + 25)
        writer.append(Chunk((part.start, index), (frames[:, part], scales[:, index : index + 1])))
        sizes.append(writer.size)
    for count, size in enumerate(sizes, 1):
        path.write_bytes(file.getvalue()[:size])
        with open_codes(path) as reader:
            rest = salvage(codec, reader, path)
        length = rest.header.shape[0]
        least = min(count * 7920, 48077 - 320)  # a piece is whole only once the next one has begun
        assert least <= length <= least + 640
        assert rest.cut and not rest.lost
        same = min(length, 48077) - 400
        assert (rest.signal[:, :same] - whole[:, :same]).abs().max() <= TOLERANCE
