"""A wheel holds all that the package reads: templates of reports, default models."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "codecs" / "neuralcodecs"


def test_a_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling is not installed, and tests download nothing")
    options = ["-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True)
    found = zipfile.ZipFile(next(tmp_path.glob("*.whl")))
    sizes = {entry.filename: entry.file_size for entry in found.infolist()}
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert any(path.suffix == ".j2" for path in files)
    for path in files:
        assert sizes.get(path.relative_to(ROOT / "codecs").as_posix()) == path.stat().st_size, path
