"""Every golden file is read, or refused, as ``expected.json`` says: no later version may read them otherwise."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from golden_files import EXPECTED, FOLDER, facts

from neuralcodecs.cli import main
from neuralcodecs.errors import CodecError

GOLDEN = json.loads(EXPECTED.read_text())


def test_there_are_enough_and_none_is_missing_or_unknown() -> None:
    for kind in ("good", "bad"):
        assert {path.stem for path in (FOLDER / kind).glob("*.ncs")} == set(GOLDEN[kind])
        assert len(GOLDEN[kind]) >= 24
        assert all(path.stat().st_size < 1000 for path in (FOLDER / kind).iterdir())
    digests = [file["sha256"] for file in GOLDEN["good"].values()]
    assert len(set(digests)) > 12


@pytest.mark.parametrize("name", GOLDEN["good"])
def test_good(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = FOLDER / "good" / f"{name}.ncs"
    assert json.loads(json.dumps(facts(path.read_bytes()))) == GOLDEN["good"][name]
    assert main(["info", str(path)]) == 0
    assert GOLDEN["good"][name]["fingerprint"] in capsys.readouterr().out


@pytest.mark.parametrize("name", GOLDEN["bad"])
def test_bad(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path, message = FOLDER / "bad" / f"{name}.ncs", GOLDEN["bad"][name]
    with pytest.raises(CodecError) as refusal:
        facts(path.read_bytes())
    assert str(refusal.value).startswith(message) and len(message) > 20
    assert main(["info", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"neuralcodecs: {refusal.value}\n" and captured.out == ""


def test_what_a_terminal_cannot_show_is_escaped() -> None:
    run = [sys.executable, "-m", "neuralcodecs.cli", "info", str(FOLDER / "good" / "audio-metadata.ncs")]
    settings = {"PYTHONPATH": str(ROOT / "codecs"), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(run, env=settings, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and r"\xdcbung \u2116 1" in done.stdout


def test_the_generator_overwrites_nothing(tmp_path: Path) -> None:
    """Neither a file that differs from what it would make, nor what is expected of one that has gone."""
    shutil.copytree(FOLDER, tmp_path / "golden")
    (tmp_path / "golden" / "good" / "picture.ncs").write_bytes(b"kept")
    (tmp_path / "golden" / "bad" / "magic.ncs").unlink()
    run = [sys.executable, str(tmp_path / "golden" / "generate.py")]
    paths = ":".join(map(str, (ROOT / "codecs", ROOT / "tests", tmp_path / "golden")))
    before = {path: path.read_bytes() for path in (tmp_path / "golden").rglob("*.*") if path.suffix != ".pyc"}
    done = subprocess.run(run, env={"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("0 made\n") and "kept good/picture.ncs" in done.stdout
    assert all(path.read_bytes() == data for path, data in before.items())
