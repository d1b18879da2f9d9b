"""Pictures through .ncs files, the commands and evaluation, by the code that audio takes."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from pictures import KODAK, PICTURES, PatchDecoder, PatchEncoder, picture, picture_codec
from PIL import Image as Pillow

from neuralcodecs import Codec, CodecError
from neuralcodecs.bitrates import levels_for, nominal_rates
from neuralcodecs.cli import main
from neuralcodecs.criteria import Metric, MetricFailure
from neuralcodecs.evaluation.examples import comparison, decode_examples
from neuralcodecs.evaluation.measure import evaluate
from neuralcodecs.evaluation.results import table
from neuralcodecs.files import decode_file, encode_file, read_codes, write_codes
from neuralcodecs.image import Image, files
from neuralcodecs.medium import SignalInfo
from neuralcodecs.quantizers.binary import GroupedLFQ


@pytest.fixture
def model(tmp_path: Path) -> str:
    picture_codec().save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.mark.parametrize("size", [(768, 512), (1023, 767), (1, 1), (1, 300), (300, 1)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_size_is_exact_and_the_file_at_most_48_bytes_more_than_its_codes(
    size: tuple[int, int], mode: str, tmp_path: Path, model: str
) -> None:
    codec, source = picture_codec(), tmp_path / "a.png"
    picture(*size, mode).save(source)
    assert main(["encode", str(source), "-o", str(tmp_path / "a.ncs"), "-m", model, "--trust"]) == 0
    codes, original = read_codes(tmp_path / "a.ncs", codec)
    assert original == SignalInfo(0, 3 if mode == "RGB" else 1, size[::-1])
    # that a file was gray costs up to 8 bytes: the format then describes the original too
    overhead = (tmp_path / "a.ncs").stat().st_size - float(codec.bits(codes)[0]) / 8
    assert overhead <= (48 if mode == "RGB" else 56)
    assert main(["decode", str(tmp_path / "a.ncs"), "-o", str(tmp_path / "b.png"), "-m", model, "--trust"]) == 0
    decoded = Pillow.open(tmp_path / "b.png")
    assert decoded.size == size and decoded.mode == mode
    if mode == "RGB":
        assert np.array_equal(np.asarray(decoded), files.to_bytes(codec.decode(codes)[0]).permute(1, 2, 0).numpy())


@pytest.mark.parametrize("path", PICTURES, ids=lambda p: p.stem[:20])
def test_samples_of_any_mode_go_through(path: Path, tmp_path: Path) -> None:
    codec = picture_codec()
    exif = Pillow.Exif()
    exif[files.ORIENTATION] = 6
    plain = Pillow.open(path).convert("RGB")
    plain.save(tmp_path / "turned.jpg", exif=exif)
    plain.quantize(64).save(tmp_path / "palette.png")
    plain.convert("CMYK").save(tmp_path / "cmyk.tif")
    plain.convert("RGBA").save(tmp_path / "alpha.webp", lossless=True)
    Pillow.fromarray(np.asarray(plain.convert("L")).astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for source in tmp_path.iterdir():
        encode_file(codec, source, tmp_path / "a.ncs")
        decode_file(codec, tmp_path / "a.ncs", tmp_path / "b.png")
        decoded = Pillow.open(tmp_path / "b.png")
        assert decoded.size == (plain.size[::-1] if source.stem == "turned" else plain.size)
        assert decoded.mode == ("L" if source.stem == "deep" else "RGB")
        (tmp_path / "a.ncs").unlink(), (tmp_path / "b.png").unlink()


def test_a_gray_codec_takes_colour_and_gives_colour_files_back(tmp_path: Path) -> None:
    codec = picture_codec(channels=1)
    encode_file(codec, KODAK, tmp_path / "a.ncs")
    decode_file(codec, tmp_path / "a.ncs", tmp_path / "b.png")
    decoded = np.asarray(Pillow.open(tmp_path / "b.png").convert("RGB"))
    assert decoded.shape == np.asarray(Pillow.open(KODAK)).shape and (decoded == decoded[..., :1]).all()


def test_bits_per_pixel_and_levels() -> None:
    codec = picture_codec()
    assert nominal_rates(codec) == [8 / 64, 16 / 64] and levels_for(codec, 0.2) == 1
    with pytest.raises(CodecError, match=r"starts at 0\.125 bit/pixel"):
        levels_for(codec, 0.1)


def test_rows_wider_than_a_chunk_are_refused(tmp_path: Path) -> None:
    many = Codec(Image(), PatchEncoder(3, 80, 1), partial(GroupedLFQ, groups=80), PatchDecoder).eval()
    for codec, width, said in ((picture_codec(patch=1), 2**16 + 1, "65537"), (many, 2**16, "x 80 codebooks")):
        codes = codec.encode(torch.zeros(1, 3, 1, width))
        with pytest.raises(CodecError, match=said):
            write_codes(tmp_path / "a.ncs", codec, codes, SignalInfo(0, 3, (1, width)))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_picture_is_one_line_and_no_output(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.png").write_bytes(KODAK.read_bytes()[:9000])
    assert main(["encode", str(tmp_path / "cut.png"), "-m", model, "--trust"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("neuralcodecs: ") and error.count("\n") == 1 and "cut.png: damaged" in error
    assert not list(tmp_path.glob("*.ncs*"))


def test_evaluate_gives_figures_codebooks_and_the_picture(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, small = tmp_path / "out", tmp_path / "small.png"
    picture(100, 80).save(small)
    data = [str(KODAK), str(small)]
    assert main(["evaluate", model, "--data", *data, "--out", str(out), "--trust", "--levels", "1", "2"]) == 0
    printed = capsys.readouterr().out
    (one, two) = (json.loads((out / "metrics.json").read_text()))["settings"]
    assert one["nominal"] < two["nominal"] < two["written"] and two["nominal"] == pytest.approx(0.25, rel=0.02)
    assert two["failures"] == {"ms_ssim": 1} and {"psnr", "ssim", "ms_ssim"} == set(two["figures"])
    for text in ("bit/pixel", "encode Mpixel/s", "codebooks at 2 levels", "smaller than 176", "mean of per-picture"):
        assert text in printed
    grid = np.asarray(Pillow.open(out / "comparison.png"))
    shown = np.asarray(Pillow.open(KODAK))
    assert grid.shape[1] > 5 * shown.shape[1] and grid.shape[0] > shown.shape[0] + 80
    assert np.array_equal(grid[16 : 16 + shown.shape[0], : shown.shape[1]], shown)
    assert (
        main(["evaluate", model, "--data", *data, "--out", str(out), "--trust", "--weights", "lpips=absent.pth"]) == 2
    )
    assert "no file absent.pth: download https://" in capsys.readouterr().err
    assert main(["evaluate", model, "--data", *data, "--out", str(out), "--trust", "--weights", "dists=x"]) == 2
    assert "weights for dists" in capsys.readouterr().err


def test_the_comparison_of_a_perfect_codec_has_gray_differences() -> None:
    codec = picture_codec()
    (example,) = decode_examples(codec, [KODAK, SAMPLES / "README.md"], [1, 2])
    perfect = type(example)(example.name, example.original, dict.fromkeys((1, 2), example.original))
    height, width = (min(512, n) for n in example.original.shape[1:])
    grid, real = comparison(codec, [perfect]), comparison(codec, [example])
    step = width + 4
    for column in (2, 4):
        panel = (slice(None), slice(16, 16 + height), slice(column * step, column * step + width))
        assert (grid[panel] - 0.5).abs().max() < 1 / 255
        assert (real[panel] - 0.5).abs().max() > 0.1


def test_audio_is_compared_by_the_same_function(tmp_path: Path) -> None:
    from examples import clip, make_codec

    codec = make_codec()
    sheet = comparison(codec, decode_examples(codec, [clip(tmp_path)]))
    assert sheet.shape[0] == 3 and sheet.shape[1] > 513 and sheet.min() >= 0 and sheet.max() <= 1


class Gathers(Metric):
    """Counts files: the kind of metric that FID is."""

    names = ("files",)
    higher_is_better = True
    definition = "a test's"

    def __init__(self, least: int) -> None:
        self.least, self.seen = least, 0

    def fresh(self) -> "Gathers":
        return Gathers(self.least)

    def __call__(self, decoded: torch.Tensor, reference: torch.Tensor, rate: int) -> dict[str, float]:
        self.seen += 1
        return {}

    def over_files(self) -> dict[str, float]:
        if self.seen < self.least:
            raise MetricFailure(f"{self.seen} files are too few")
        return {"files": float(self.seen)}


def test_metrics_over_all_files_are_kept_apart_by_setting() -> None:
    codec = picture_codec()
    result = evaluate(codec, PICTURES[:3], [1, 2], [Gathers(2)], progress=False)
    assert [s.figures for s in result.settings] == [{"files": 3.0}] * 2 and result.failures == {}
    result = evaluate(codec, PICTURES[:1], [1, 2], [Gathers(2)], progress=False)
    assert all(s.figures == {} and s.failures == {"files": 1} for s in result.settings)
    assert "failed: files: 1 files are too few" in table(result)
