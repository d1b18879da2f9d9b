"""Every shipped config: builds, trains 3 steps on the samples, is judged, and its checkpoint encodes and decodes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT, SAMPLES
from jsonargparse import ArgumentParser
from narrowing import narrow

from neuralcodecs.cli import main
from neuralcodecs.codec import Codec
from neuralcodecs.medium import Medium, SignalInfo
from neuralcodecs.pretrained import build
from neuralcodecs.training import Reconstruct
from neuralcodecs.training.run import main as train

LANGUAGES = sorted((ROOT / "configs" / "lm").glob("*.yaml"))
CONFIGS = sorted(set((ROOT / "configs").rglob("*.yaml")) - set(LANGUAGES))
OFFERED = re.compile(r"^ +# perceptual:\n(?: +#   .*\n)+", re.MULTILINE)
"""A loss that a config has as a comment, since it needs a file that the user must fetch."""
SMALL = [
    "--trainer.max_steps=3",
    "--trainer.accelerator=cpu",
    "--trainer.val_check_interval=3",
    "--trainer.num_sanity_val_steps=0",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--data.init_args.loading.workers=0",
]
DATA = {"batch_size": 2, "segment_seconds": 0.2, "size": 48, "frames": 8}
"""What a step is made of, where a data module has it."""
CLIP = {1: (24000,), 2: (72, 100), 3: (9, 36, 50)}
"""Samples; height and width; or frames, height and width, of the file that is judged and coded."""
PUBLISHED = {"wetok_f16_192x": (198.9, 261.4), "wetok_f8_24x": (193.7, 254.8)}
"""Million parameters of encoder and decoder."""


def load(config: Path) -> dict[str, Any]:
    return yaml.safe_load(config.read_text())


def codec_of(config: dict[str, Any], name: str = "a test") -> Codec:
    codec = config["model"]["init_args"]["codec"]
    if isinstance(codec, str):  # the run whose codec it is about
        return codec_of(narrow(maker(codec)), name)
    return build(codec, name)


def maker(run: str) -> dict[str, Any]:
    """The config of a run that another one starts from."""
    (found,) = [config for config in map(load, CONFIGS) if config["run"] == run]
    return found


def small(config: Path, clip: Path, first: Path) -> dict[str, Any]:
    """A narrow config that judges ``clip``. The runs that it starts from become fresh codecs in ``first``."""
    node = narrow(load(config))
    for callback in node["trainer"]["callbacks"]:
        if "Evaluate" in callback["class_path"]:
            callback["init_args"]["data"] = [str(clip)]
    data = node["data"]["init_args"]
    data.update({name: value for name, value in DATA.items() if name in data})
    arguments = node["model"]["init_args"]
    if isinstance(arguments["codec"], str):
        arguments["codec"] = fresh(arguments["codec"], first / "codec")
        data["train"] = data["val"] = [str(clip)]  # a prior's judge counts them: a full set takes minutes
    stage = arguments.get("stage", {"init_args": {}})["init_args"]
    if "load_from" in stage:
        stage["load_from"] = fresh(stage["load_from"], first / "start")
    for index, (name, run) in enumerate(stage.get("modules", {}).items()):
        stage["modules"][name] = fresh(run, first / f"module{index}")
    return node


def fresh(run: str, folder: Path) -> str:
    """A codec as that run would train it, untrained, in ``folder``."""
    run, mark, part = run.partition("#")
    codec_of(narrow(maker(run))).save_pretrained(folder)
    return f"{folder}{mark}{part}"


def sample(medium: Medium, folder: Path) -> tuple[Path, SignalInfo]:
    """The start of a real test file that the medium reads, written by it, and what it then is."""
    source = next(p for p in sorted(SAMPLES.rglob("test/*")) if p.suffix in medium.suffixes)
    signal, told = medium.read(source)
    clip = signal[(slice(None), *(slice(n) for n in CLIP[signal.ndim - 1]))]
    path = folder / f"clip{medium.suffixes[0]}"
    medium.write(path, clip, SignalInfo(medium.rate or told.rate, medium.channels, tuple(clip.shape[1:])))
    return path, medium.read(path)[1]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # configs name samples/


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_config_builds_at_its_full_size(config: Path) -> None:
    with torch.device("meta"):
        codec = codec_of(load(config), config.name)
    assert codec.device.type == "meta"
    assert codec.describe()["class_path"] == "neuralcodecs.codec.Codec"
    if config.stem in PUBLISHED:
        sizes = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (codec.encoder, codec.decoder)]
        assert sizes == pytest.approx(PUBLISHED[config.stem], abs=0.05)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_config_trains_and_its_checkpoint_works(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    clip, info = sample(codec_of(narrow(load(config))).medium, tmp_path)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small(config, clip, tmp_path / "first")))
    train(["fit", "--config", str(tmp_path / "small.yaml"), "--run", str(run), *SMALL])
    assert (run / "checkpoints" / "step=3.ckpt").is_file() and (run / "config.yaml").is_file()
    metrics = json.loads((run / "checkpoints" / "metrics.json").read_text())
    assert metrics["step"] == 3 and metrics["settings"][0]["written"] > 0
    coded, decoded = tmp_path / "clip.ncs", tmp_path / f"decoded{clip.suffix}"
    assert main(["encode", str(clip), "-o", str(coded), "-m", str(run)]) == 0
    assert main(["decode", str(coded), "-o", str(decoded), "-m", str(run)]) == 0
    medium = codec_of(narrow(load(config))).medium
    assert medium.read(decoded)[1] == info


@pytest.mark.parametrize("config", [c for c in CONFIGS if OFFERED.search(c.read_text())], ids=lambda path: path.stem)
def test_a_loss_in_a_comment_asks_for_its_file_when_it_is_made_to_count(config: Path) -> None:
    text = OFFERED.sub(lambda found: re.sub(r"(?m)^( +)# ", r"\1", found[0]), config.read_text())
    objective = yaml.safe_load(text)["model"]["init_args"]["objective"]["init_args"]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Reconstruct, "objective")
    with pytest.raises(ValueError, match=r"no file PATH/vgg16-397923af\.pth: download"):
        parser.instantiate_classes(parser.parse_object({"objective": objective}))


@pytest.mark.parametrize("config", LANGUAGES, ids=lambda path: path.stem)
def test_language_model_trains_and_generates(config: Path, tmp_path: Path) -> None:
    node = narrow(load(config))
    language = node["model"]["init_args"]["language"]["init_args"]
    material = language["material"]["init_args"]
    language["window"] = [min(n, 32) for n in language["window"]]
    (judge,) = [c for c in node["trainer"]["callbacks"] if c["class_path"].endswith("JudgeLanguage")]
    judge["init_args"]["limit"] = 1
    node["data"]["init_args"]["val"] = [str(sorted(Path(judge["init_args"]["data"][0]).iterdir())[0])]
    size, suffix = ["--bytes", "100"], ".flac"
    if "model" in material:
        (earlier,) = [load(path) for path in CONFIGS if load(path)["run"] == material["model"]]
        codec = codec_of(narrow(earlier))
        codec.save_pretrained(tmp_path / "codec")
        material |= {"model": str(tmp_path / "codec"), "cache": str(tmp_path / "cache")}
        size, suffix = (["--seconds", "0.3"], ".wav") if codec.medium.rate else (["--size", "40", "24"], ".png")
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(node))
    run, made = tmp_path / "run", tmp_path / f"made{suffix}"
    train(["fit", "--config", str(tmp_path / "small.yaml"), "--run", str(run), *SMALL])
    figures = json.loads((run / "checkpoints" / "metrics.json").read_text())
    (unit,) = [name for name in figures if name.startswith("bits_per_") and "code" not in name]
    assert figures["step"] == 3 and 0 < figures[unit] < 1.05 * figures[f"nominal_{unit}"]
    assert main(["generate", str(run), *size, "--out", str(made)]) == 0
    if suffix == ".flac":
        assert made.stat().st_size == 100
    else:
        assert codec.medium.read(made)[1].shape == ((4800,) if suffix == ".wav" else (40, 24))
