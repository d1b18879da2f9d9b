"""Long files and pipes are coded as they come: the bytes and the sound of the whole signal, in constant memory."""

import io
from pathlib import Path
from pipes import forget_length, piped

import numpy as np
import pytest
import soundfile
import torch
from streaming_codecs import codec_of, recording

from neuralcodecs import Codec, coding, stream_files
from neuralcodecs.bitstream import Reader
from neuralcodecs.cli import main
from neuralcodecs.files import decode_codes, encode_signals, open_codes, read_codes, write_codes
from neuralcodecs.stream_files import Decoding

TOLERANCE = 1e-5
LENGTHS = {"encodec_24khz": [7.3, 6.0], "dac_24khz": [7.3], "encodec_48khz": [6.97, 6.931, 5.5]}
"""Seconds. At 48 kHz: two last pieces that are not full, one of a few samples, one of half a second."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files from 3 s on are long, and chunks have 2 s: the same code on shorter signals."""
    monkeypatch.setattr(stream_files, "WHOLE_SECONDS", 3)
    monkeypatch.setattr(coding, "CHUNK_SECONDS", 2)


def write(path: Path, codec: Codec, seconds: float, rate: int | None = None) -> Path:
    rate = rate or codec.medium.rate
    samples = recording(rate, codec.medium.channels, round(4 * rate))[0].numpy().T
    samples = np.concatenate([samples, 0.5 * samples[::-1]])[: round(seconds * rate)]
    soundfile.write(path, samples, rate, "PCM_16")
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in LENGTHS:
        codec_of(name).save_pretrained(folder / name)
    return folder


@pytest.mark.parametrize("name", LENGTHS)
def test_the_bytes_and_the_sound_are_those_of_the_whole_signal(
    name: str, small: None, models: Path, tmp_path: Path
) -> None:
    codec = codec_of(name)
    for seconds in LENGTHS[name]:
        for rate in (codec.medium.rate, 44100):
            source = write(tmp_path / "a.wav", codec, seconds, rate)
            out, back = tmp_path / "a.ncs", tmp_path / "b.wav"
            assert main(["encode", str(source), "-m", str(models / name), "--overwrite"]) == 0
            whole, original = codec.medium.read(source)
            codes = encode_signals(codec, [whole])[0]
            write_codes(tmp_path / "whole.ncs", codec, codes, original)
            assert out.read_bytes() == (tmp_path / "whole.ncs").read_bytes()
            expected = decode_codes(codec, [codes])[0]
            with open_codes(out) as reader:
                assert len(reader.chunks) >= 3
                sound = torch.cat(list(Decoding(codec, reader, out)), dim=-1)
            assert sound.shape == expected.shape and (sound - expected).abs().max() <= TOLERANCE
            assert main(["decode", str(out), "-m", str(models / name), "-o", str(back), "--overwrite"]) == 0
            codec.medium.write(tmp_path / "whole.wav", expected, original)
            ours, theirs = (soundfile.read(p, dtype="int16")[0].astype(int) for p in (back, tmp_path / "whole.wav"))
            assert ours.shape == theirs.shape and np.abs(ours - theirs).max() <= 1  # a step of 16 bits
            assert soundfile.info(back).frames == original.shape[0]


@pytest.mark.parametrize("other_rate", [False, True])
@pytest.mark.parametrize("name", LENGTHS)
def test_a_pipe_of_unknown_length_gives_the_same_codes_and_sound(
    name: str, other_rate: bool, small: None, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = codec_of(name)
    seconds, rate = (LENGTHS[name][-1], 44100) if other_rate else (LENGTHS[name][0], codec.medium.rate)
    source = write(tmp_path / "a.wav", codec, seconds, rate)
    assert main(["encode", str(source), "-m", str(models / name), "--overwrite"]) == 0
    assert main(["decode", str(tmp_path / "a.ncs"), "-m", str(models / name), "--overwrite"]) == 0
    expected = soundfile.read(source, dtype="int16")[0].astype(int)
    coded = piped(monkeypatch, forget_length(write(tmp_path / "c.wav", codec, seconds, rate).read_bytes()))
    assert main(["encode", "-", "-m", str(models / name)]) == 0
    (tmp_path / "piped.ncs").write_bytes(coded.getvalue())
    assert Reader(io.BytesIO(coded.getvalue())).header.is_open
    ours, theirs = (read_codes(tmp_path / n, codec) for n in ("piped.ncs", "a.ncs"))
    assert ours[1] == theirs[1] and ours[0].shapes == theirs[0].shapes
    assert all(torch.equal(a.values, b.values) for a, b in zip(ours[0], theirs[0], strict=True))
    wav = piped(monkeypatch, coded.getvalue())
    assert main(["decode", "-", "-m", str(models / name)]) == 0
    assert wav.getvalue()[40:44] == b"\xff\xff\xff\xff"
    decoded = np.frombuffer(wav.getvalue()[44:], "<i2").astype(int).reshape(expected.shape)
    assert np.abs(decoded - expected).max() <= 1
    known = piped(monkeypatch, (tmp_path / "a.ncs").read_bytes())
    assert main(["decode", "-", "-m", str(models / name)]) == 0
    assert int.from_bytes(known.getvalue()[40:44], "little") == len(known.getvalue()) - 44
