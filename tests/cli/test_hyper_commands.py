"""Hyperprior codecs from the command line: refined files decode, wanted rates are kept to, too low ones refused."""

from pathlib import Path

import pytest
import torch
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
    assert "starts at" in capsys.readouterr().err and not (tmp_path / "b.ncs").exists()


def test_a_wanted_rate_chooses_the_level_of_each_file(tmp_path: Path) -> None:
    """With what the header says besides, and after refinement too."""
    model, coded = str(tmp_path / "model"), tmp_path / "a.ncs"
    trained("none").save_pretrained(model)
    for name, picture in (("photo", photo("test/kodim19.png", 128, 128)), ("gray", torch.zeros(3, 128, 128))):
        source = str(tmp_path / f"{name}.png")
        save_image(picture / 2 + 0.5, source)
        sizes = []
        for level in ("1", "2"):
            assert main(["encode", source, "-m", model, "-o", str(coded), "--overwrite", "--levels", level]) == 0
            sizes.append(coded.stat().st_size)
        assert sizes[0] < sizes[1]
        for bits, expected in ((8 * sizes[1] - 1, sizes[0]), (8 * sizes[1], sizes[1])):
            wanted = ["-b", repr(bits / 128**2)]
            assert main(["encode", source, "-m", model, "-o", str(coded), "--overwrite", *wanted]) == 0
            assert coded.stat().st_size == expected
        assert main(["encode", source, "-m", model, "-o", str(coded), "--overwrite", *wanted, "--title", "a"]) == 0
        assert coded.stat().st_size < sizes[1]  # the title has its place within the rate
