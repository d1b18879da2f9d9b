"""Hyperprior codecs from the command line: refined files decode, and a rate below the nominal ones names its remedy."""

from pathlib import Path

import pytest
from hyper_codecs import photo, trained
from torchvision.utils import save_image

from neuralcodecs.cli import main


def test_refined_files_decode_and_low_rates_are_refused_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, source, coded = (str(tmp_path / name) for name in ("model", "a.png", "a.ncs"))
    trained("none").save_pretrained(model)
    save_image(photo("train/openimages_000ab8c20b3e5b58.jpg", 64, 64) / 2 + 0.5, source)
    assert main(["encode", source, "-m", model, "-o", coded]) == 0
    plain = Path(coded).read_bytes()
    assert main(["encode", source, "-m", model, "-o", coded, "--overwrite", "--refine", "5"]) == 0
    assert Path(coded).read_bytes() != plain
    assert main(["decode", coded, "-m", model, "-o", str(tmp_path / "out.png")]) == 0
    assert main(["encode", source, "-m", model, "-o", coded, "--overwrite", "--refine", "0"]) == 2
    assert "give at least 1" in capsys.readouterr().err
    assert main(["encode", source, "-m", model, "-o", str(tmp_path / "b.ncs"), "-b", "0.01"]) == 2
    assert "choose with --levels" in capsys.readouterr().err
