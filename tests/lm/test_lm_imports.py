"""The package for language models is above all parts, below training and commands, and starts without transformers."""

import subprocess
import sys

from conftest import ROOT
from test_imports import imported


def test_lm_imports_neither_training_nor_commands() -> None:
    for path in (ROOT / "codecs" / "neuralcodecs" / "lm").glob("*.py"):
        assert not imported(path) & {"training", "cli", "/lightning"}, path


def test_lm_starts_without_transformers() -> None:
    code = "import sys, neuralcodecs.lm; print('transformers' in sys.modules)"
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT / "codecs").stdout == "False\n"
