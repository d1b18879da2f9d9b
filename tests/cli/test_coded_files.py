"""Files of every prior through pipes, in parts and damaged: as files that have none, chunk by chunk."""

from pathlib import Path
from pipes import forget_length, piped

import numpy as np
import pytest
import soundfile
import torch
from coded import with_priors
from examples import clip

from neuralcodecs import Codec
from neuralcodecs.cli import main
from neuralcodecs.files import open_codes, read_codes
from neuralcodecs.prior_coders import AdaptivePriorCoder, LearnedPriorCoder, StaticPriorCoder

RATE = 16000
KINDS = {name: ["--prior", name] for name in ("none", "static", "adaptive", "learned")}
KINDS |= {"coarse": ["--coarse", "2", "--draw", "3"]}


@pytest.fixture(scope="module")
def codec() -> Codec:
    return with_priors()


@pytest.fixture(scope="module")
def model(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    codec.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording of 2.5 s; where a prior codes it, chunks have a second."""
    for coder in (StaticPriorCoder, AdaptivePriorCoder, LearnedPriorCoder):
        monkeypatch.setattr(coder, "chunk_seconds", 1)
    path = clip(tmp_path, 5 * RATE // 2)
    assert soundfile.info(path).samplerate == RATE
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_pipes_give_the_codes_and_the_sound_of_files(
    kind: str, codec: Codec, model: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded, back = tmp_path / "clip.ncs", tmp_path / "back.wav"
    assert main(["encode", str(source), "-m", model, *KINDS[kind]]) == 0
    assert main(["decode", str(coded), "-m", model, "-o", str(back)]) == 0
    expected = soundfile.read(back, dtype="int16")[0].astype(int)
    out = piped(monkeypatch, forget_length(source.read_bytes()))
    assert main(["encode", "-", "-m", model, *KINDS[kind]]) == 0
    (tmp_path / "piped.ncs").write_bytes(out.getvalue())
    with open_codes(tmp_path / "piped.ncs") as reader, open_codes(coded) as known:
        assert len(reader.chunks) == len(known.chunks) == (1 if kind == "none" else 3)
    ours, theirs = (read_codes(path, codec)[0]["codes"] for path in (tmp_path / "piped.ncs", coded))
    assert torch.equal(ours, theirs)
    for data in (out.getvalue(), coded.read_bytes()):
        wav = piped(monkeypatch, data)
        assert main(["decode", "-", "-m", model]) == 0
        assert np.abs(np.frombuffer(wav.getvalue()[44:], "<i2").astype(int) - expected).max() <= 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
def test_salvage_loses_the_damaged_chunk_alone_and_parts_are_those_of_the_whole(
    kind: str, model: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded, out = tmp_path / "clip.ncs", tmp_path / "out.wav"
    assert main(["encode", str(source), "-m", model, *KINDS[kind]]) == 0
    decode = ["decode", str(coded), "-m", model, "-o", str(out), "--overwrite"]
    assert main([*decode, "--salvage"]) == 0
    whole = soundfile.read(out, dtype="int16")[0].astype(int)
    assert main([*decode, "--from", "1.2", "--to", "1.7"]) == 0
    part = soundfile.read(out, dtype="int16")[0].astype(int)
    assert np.abs(part - whole[round(1.2 * RATE) : round(1.7 * RATE)]).max() <= 1
    with open_codes(coded) as reader:
        second = reader.chunks[1]
    data = bytearray(coded.read_bytes())
    data[second.payload + second.sizes[0] // 2] ^= 1
    coded.write_bytes(data)
    capsys.readouterr()
    out.unlink()
    assert main(decode) == 2 and "chunk 1: its CRC-32 differs" in capsys.readouterr().err and not out.exists()
    assert main([*decode, "--salvage"]) == 3
    assert "damaged: 1.000 to 2.000 s" in capsys.readouterr().err
    rest = soundfile.read(out, dtype="int16")[0].astype(int)
    assert len(rest) == len(whole) and not rest[RATE + 8 : 2 * RATE - 8].any() and rest[2 * RATE + 8 :].any()
    assert np.abs(rest[: RATE - 6400] - whole[: RATE - 6400]).max() <= 2


def test_a_model_without_the_prior_salvages_nothing(
    model: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encode", str(source), "-m", model, "--coarse", "1"]) == 0
    plain = with_priors()
    plain.priors = {}
    plain.save_pretrained(tmp_path / "plain")
    decode = ["decode", str(tmp_path / "clip.ncs"), "-m", str(tmp_path / "plain"), "-o", str(tmp_path / "out.wav")]
    for options in ([], ["--salvage"], ["--from", "1"]):
        capsys.readouterr()
        assert main([*decode, *options]) == 2
        error = capsys.readouterr().err
        assert "needs another prior ('codes': coder 5" in error and error.count("\n") == 1
    assert not (tmp_path / "out.wav").exists()
