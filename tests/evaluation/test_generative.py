"""Generative decoders judged: steps, seeds, time, and the warning."""

import json
from pathlib import Path

import pytest
from generative import flow_picture_codec
from image_networks import cnn_codec
from pictures import KODAK, picture

from neuralcodecs import CodecError
from neuralcodecs.cli import main
from neuralcodecs.evaluation.generative import UNFAIR, evaluate_ways, table_of_ways
from neuralcodecs.image.metrics import PSNR
from neuralcodecs.sampling import Sampling


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for width in (24, 33):
        picture(width, 20).save(tmp_path / f"{width}.png")
    return sorted(tmp_path.glob("*.png"))


def test_figures_are_those_of_the_decodes_and_differ_between_seeds(files: list[Path]) -> None:
    codec, psnr = flow_picture_codec(), PSNR()
    one, two = evaluate_ways(codec, files, [psnr], steps=(1, 2), seeds=(3, 4))
    means = []
    for seed in (3, 4):
        signals = [codec.medium.read(path)[0] for path in files]
        decoded = [codec.decode(codec.encode(s[None]), Sampling(seed, 2))[0].clamp(-1, 1) for s in signals]
        means.append(sum(psnr(d, s, 0)["psnr"] for d, s in zip(decoded, signals, strict=True)) / 2)
    assert two.figures["psnr"] == pytest.approx(sum(means) / 2)
    assert two.spreads["psnr"] == pytest.approx(abs(means[0] - means[1]) / 2, rel=1e-3) and two.spreads["psnr"] > 0
    assert one.seconds > 0 and one.speed > 0 and (one.steps, two.seeds) == (1, (3, 4))
    table = table_of_ways([one, two], codec.medium.speed_unit)
    assert UNFAIR in table and f"{two.figures['psnr']:.3f} ± {two.spreads['psnr']:.3f}" in table


def test_the_command_judges_them_in_all_ways_and_others_in_none(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for codec, generative in ((flow_picture_codec(), True), (cnn_codec(), False)):
        model, out = tmp_path / f"model{generative}", tmp_path / f"out{generative}"
        codec.save_pretrained(model)
        assert main(["evaluate", str(model), "--data", str(files[0]), "--out", str(out), "--examples", "0"]) == 0
        assert (UNFAIR in capsys.readouterr().out) == (out / "generative.json").is_file() == generative
    written = json.loads((tmp_path / "outTrue" / "generative.json").read_text())
    (found,) = written.values()
    assert [way["steps"] for way in found["ways"]] == [1, 2, 4, 8, 16] and found["note"] == UNFAIR
    run = ["evaluate", str(tmp_path / "modelTrue"), "--data", str(files[0]), "--out", str(tmp_path / "few")]
    assert main([*run, "--examples", "0", "--steps", "3", "5", "--seeds", "8"]) == 0
    (few,) = json.loads((tmp_path / "few" / "generative.json").read_text()).values()
    assert [(way["steps"], way["seeds"]) for way in few["ways"]] == [(3, [8]), (5, [8])]
    assert main([*run, "--examples", "0", "--steps", "0"]) != 0
    assert "give a whole number from 1 to 1000" in capsys.readouterr().err


def test_what_cannot_be_judged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="deterministic: it has no steps"):
        evaluate_ways(cnn_codec(), [KODAK], [])
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(CodecError, match="none of the files can be read"):
        evaluate_ways(flow_picture_codec(), [tmp_path / "a.png"], [])
