"""Commands without -m: each file by the default model of its medium; with small models in the defaults' place."""

import json
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import SAMPLES
from examples import clip, make_codec
from hyper_codecs import fresh
from PIL import Image as Pillow

import neuralcodecs
from neuralcodecs import CodecError, models
from neuralcodecs.cli import main
from neuralcodecs.compact import halved
from neuralcodecs.pretrained import fingerprint


@pytest.fixture(autouse=True)
def defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``speech`` and ``image``, and no models of the user's."""
    folder = tmp_path / "defaults"
    halved(make_codec()).save_pretrained(folder / "speech")
    torch.manual_seed(0)
    halved(fresh("none").eval()).save_pretrained(folder / "image")
    monkeypatch.setattr(models, "SHIPPED", folder)
    monkeypatch.setenv(models.HOME, str(tmp_path / "home"))
    return folder


def photo(folder: Path, name: str = "photo.png") -> Path:
    with Pillow.open(SAMPLES / "image" / "test" / "kodim19.png") as picture:
        picture.crop((0, 0, 72, 56)).save(folder / name)
    return folder / name


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    clip(folder)
    photo(folder)
    (folder / "notes.txt").write_text("not for us")
    return folder


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("neuralcodecs: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize("batch", ["1", "4"])
def test_a_mixed_folder_goes_and_comes_back_by_the_defaults(
    mixed: Path, capsys: pytest.CaptureFixture[str], batch: str
) -> None:
    coded, back = mixed.parent / "coded", mixed.parent / "back"
    assert main(["encode", str(mixed), "-o", str(coded), "--batch", batch]) == 0
    said = capsys.readouterr()
    assert (
        "kbit/s written" in said.out and "bit/pixel written" in said.out and "2 done, 0 failed, 1 skipped" in said.err
    )
    assert main(["decode", str(coded), "-o", str(back), "--batch", batch]) == 0
    source, sound = soundfile.info(mixed / "clip.wav"), soundfile.info(back / "clip.wav")
    assert (sound.frames, sound.samplerate, sound.channels) == (source.frames, source.samplerate, source.channels)
    assert Pillow.open(back / "photo.png").size == (72, 56)
    for name, default in (("clip", "speech"), ("photo", "image")):
        capsys.readouterr()
        assert main(["info", str(coded / f"{name}.ncs"), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["model name"] == default and facts["model"] == fingerprint(neuralcodecs.load(default)).hex()


def test_the_files_are_those_of_the_model_by_its_name(mixed: Path) -> None:
    for name, model in (("clip.wav", "speech"), ("photo.png", "image")):
        unnamed, named = mixed / "a.ncs", mixed / "b.ncs"
        assert main(["encode", str(mixed / name), "-o", str(unnamed), "--overwrite"]) == 0
        assert main(["encode", str(mixed / name), "-o", str(named), "-m", model, "--overwrite"]) == 0
        assert unnamed.read_bytes() == named.read_bytes()


def test_what_has_no_default_is_one_line(
    mixed: Path, defaults: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "-m speech" in refused(capsys, "encode", "-", "-o", tmp_path / "a.ncs")
    assert "no default model is for .txt" in refused(capsys, "encode", mixed / "notes.txt")
    assert "rates of their own" in refused(capsys, "encode", mixed, "--levels", 1)
    both = "default models image and speech"
    assert both in refused(capsys, "evaluate", "--data", mixed, "--out", tmp_path / "out")
    assert both in refused(capsys, "tokenize", mixed, "--out", tmp_path / "codes")
    (defaults / "speech").rename(tmp_path / "away")
    assert "no default model 'speech'" in refused(capsys, "encode", mixed / "clip.wav")
    assert not list(tmp_path.rglob("*.ncs"))
    # of several, one without a default does not stop the others
    assert main(["encode", str(mixed / "photo.png"), str(mixed / "notes.txt"), "-o", str(tmp_path / "coded")]) == 1


def test_levels_go_to_the_default(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, sizes = str(mixed / "clip.wav"), {}
    for levels in ("1", "4"):
        assert main(["encode", source, "-o", str(mixed / "a.ncs"), "--levels", levels, "--overwrite"]) == 0
        sizes[levels] = (mixed / "a.ncs").stat().st_size
    assert sizes["1"] < sizes["4"]
    assert "starts at" in refused(capsys, "encode", source, "-b", 0.01)


def test_a_default_of_speech_says_once_what_it_does_to_music(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, _ = soundfile.read(clip(tmp_path, 9000))
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, torch.tensor(data).expand(2, -1).T.numpy(), 48000)
    assert main(["encode", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "-o", str(tmp_path / "out")]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "default model is for speech" in line]
    assert len(told) == 1 and "a.wav: 2 channels at 48000 Hz, coded as 1 at 16000 Hz" in told[0]
    assert main(["decode", str(tmp_path / "out" / "a.ncs"), "-o", str(tmp_path / "back.wav")]) == 0
    back = soundfile.info(tmp_path / "back.wav")
    assert (back.samplerate, back.channels, back.frames) == (48000, 2, 9000)
    for quiet in (["encode", str(tmp_path / "a.wav"), "-m", "speech"], ["encode", str(tmp_path / "clip.wav")]):
        assert main([*quiet, "-o", str(tmp_path / "c.ncs"), "--overwrite"]) == 0
        assert "default model" not in capsys.readouterr().err


def test_evaluate_and_tokenize_take_the_default_of_their_data(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    data = tmp_path / "data"
    data.mkdir()
    clip(data, 12000)
    out = tmp_path / "out"
    assert main(["evaluate", "--data", str(data), "--out", str(out), "--metrics", "si_sdr", "--examples", "0"]) == 0
    assert json.loads((out / "metrics.json").read_text())["settings"][-1]["levels"] == 4
    assert main(["tokenize", str(data), "--out", str(tmp_path / "codes"), "--workers", "1"]) == 0
    assert list((tmp_path / "codes" / "data").glob("*.parquet"))


def test_models_lists_defaults_with_their_rates_after_the_users(
    defaults: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [{"levels": 2, "written": 1.054}, {"levels": 12, "written": 5.6}]
    (defaults / "speech" / models.METRICS).write_text(json.dumps({"unit": "kbit/s", "settings": settings}))
    make_codec(1).save_pretrained(tmp_path / "home" / "speech")
    assert main(["models"]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["speech", "image", "speech"]
    assert [line[2] for line in lines[1:]] == ["default", "default, kbit/s by levels 2: 1.05, 12: 5.6"]
    # the user's own goes first by name, but is not the default
    assert fingerprint(neuralcodecs.load("speech")) == fingerprint(make_codec(1))
    clip(tmp_path)
    assert main(["encode", str(tmp_path / "clip.wav")]) == 0
    capsys.readouterr()
    assert main(["info", str(tmp_path / "clip.ncs"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == lines[2][1]


def test_a_default_is_read_under_the_rules_of_models_from_outside(defaults: Path) -> None:
    config = defaults / "speech" / "config.yaml"
    config.write_text(config.read_text().replace("neuralcodecs.encoders.seanet.SEANetEncoder", "os.system"))
    with pytest.raises(CodecError, match="refused"):
        neuralcodecs.load("speech")
