"""The commands as a user types them: what they write, what they refuse, and with which status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import ROOT
from examples import clip, make_codec
from streaming_codecs import codec_of

from neuralcodecs.cli import main
from neuralcodecs.files import write_codes
from neuralcodecs.medium import SignalInfo


@pytest.fixture
def model(tmp_path: Path) -> str:
    make_codec().save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(a) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("neuralcodecs: ") and error.count("\n") == 1
    return error


def test_encode_info_decode(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    source, coded, decoded = clip(tmp_path), tmp_path / "out.ncs", tmp_path / "out.wav"
    assert main(["encode", str(source), "-o", str(coded), "-m", model, "--levels", "2"]) == 0
    assert "kbit/s written" in capsys.readouterr().out
    assert main(["info", str(coded), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["bytes"] == coded.stat().st_size and facts["stream codes"].startswith("2 x [60]")
    assert main(["info", str(coded)]) == 0 and "chunks" in capsys.readouterr().out
    assert main(["decode", str(coded), "-o", str(decoded), "-m", model]) == 0
    assert soundfile.info(decoded).frames == soundfile.info(source).frames


def test_outputs_go_beside_the_input_and_are_never_overwritten_unasked(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = clip(tmp_path)
    assert main(["encode", str(source), "-m", model]) == 0
    before = source.read_bytes()
    assert "exists: add --overwrite" in refused(capsys, "decode", tmp_path / "clip.ncs", "-m", model)
    assert source.read_bytes() == before
    assert main(["decode", str(tmp_path / "clip.ncs"), "-m", model, "--overwrite"]) == 0
    assert source.read_bytes() != before


def test_bad_input_is_one_line_status_2_and_no_output(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, coded, out = clip(tmp_path), tmp_path / "a.ncs", tmp_path / "b.wav"
    assert main(["encode", str(source), "-o", str(coded), "-m", model]) == 0
    good = coded.read_bytes()
    make_codec(1).save_pretrained(tmp_path / "other")
    assert "was made by model" in refused(capsys, "decode", coded, "-o", out, "-m", tmp_path / "other")
    for content in (good[:-1], good[:20], b"", b"RIFF" + good[4:], good[:40] + bytes([good[40] ^ 4]) + good[41:]):
        coded.write_bytes(content)
        refused(capsys, "decode", coded, "-o", out, "-m", model)
        refused(capsys, "info", coded)
    refused(capsys, "decode", tmp_path / "missing.ncs", "-o", out, "-m", model)
    refused(capsys, "encode", tmp_path / "missing.wav", "-o", tmp_path / "c.ncs", "-m", model)
    (tmp_path / "text.wav").write_text("not a sound")
    refused(capsys, "encode", tmp_path / "text.wav", "-o", tmp_path / "c.ncs", "-m", model)
    assert "levels" in refused(capsys, "encode", source, "-o", tmp_path / "c.ncs", "-m", model, "--levels", 9)
    assert "starts at" in refused(capsys, "encode", source, "-o", tmp_path / "c.ncs", "-m", model, "-b", 0.01)
    refused(capsys, "encode", source, "-o", tmp_path / "c.ncs", "-m", tmp_path / "no-model.ckpt")
    assert "make it first" in refused(capsys, "encode", source, "-o", tmp_path / "no" / "c.ncs", "-m", model)
    assert not out.exists() and sorted(p.name for p in tmp_path.glob("*.ncs")) == ["a.ncs"]
    assert not list(tmp_path.glob("*partial*"))


def test_evaluate_writes_what_it_prints(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    clip(tmp_path, 40000)
    (tmp_path / "broken.wav").write_text("not a sound")
    out = tmp_path / "results"
    assert (
        main(["evaluate", model, "--data", str(tmp_path / "clip.wav"), str(tmp_path / "broken.wav"), "--out", str(out)])
        == 0
    )
    printed = capsys.readouterr().out
    metrics = json.loads((out / "metrics.json").read_text())
    assert [s["levels"] for s in metrics["settings"]] == [1, 2, 4]
    assert f"{metrics['settings'][2]['written']:.3f}" in printed and "not read: " in printed and "broken.wav" in printed
    assert len((out / "metrics.csv").read_text().splitlines()) == 4


def test_export_is_the_model(tmp_path: Path, model: str) -> None:
    assert main(["export", model, str(tmp_path / "again")]) == 0
    source = clip(tmp_path)
    assert main(["encode", str(source), "-o", str(tmp_path / "a.ncs"), "-m", model]) == 0
    assert main(["decode", str(tmp_path / "a.ncs"), "-o", str(tmp_path / "b.wav"), "-m", str(tmp_path / "again")]) == 0


@pytest.mark.parametrize("command", ["encode", "decode", "info", "evaluate", "import", "export", "models"])
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    said = capsys.readouterr().out
    assert exit_.value.code == 0 and f"example: neuralcodecs {command}" in said
    assert all(f"\n  {status}  " in said for status in (0, 1, 2, 3, 130, 143))


def test_every_exit_status_is_on_the_page_of_the_command_line() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert all(f"| {status} |" in page for status in (0, 1, 2, 3, 130, 143))


def test_a_reader_that_goes_away_is_not_an_error_message(tmp_path: Path, model: str) -> None:
    assert main(["encode", str(clip(tmp_path, 200_000)), "-m", model]) == 0
    command = [sys.executable, "-m", "neuralcodecs.cli", "decode", str(tmp_path / "clip.ncs"), "-o", "-", "-m", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT / "codecs") as process:
        assert process.stdout and process.stderr
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait() == 1 and process.stderr.read() == b""


def test_info_tells_the_latency_of_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codec = codec_of("encodec_24khz")
    codec.save_pretrained(tmp_path / "model")
    codes = codec.encode(0.1 * torch.randn(1, 1, 24000))
    write_codes(tmp_path / "a.ncs", codec, codes, SignalInfo(24000, 1, (24000,)))
    assert main(["info", str(tmp_path / "a.ncs"), "-m", str(tmp_path / "model")]) == 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines() if line.startswith("latency")]
    waits = codec.latency
    assert [line[2].split()[0] for line in lines] == [str(waits.encoder), str(waits.decoder), str(waits.start)]
    assert lines[0][2].endswith(f"({waits.encoder / 24:.1f} ms)")
