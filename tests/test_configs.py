"""Every shipped config: builds, trains 3 steps on the samples, is judged, and its checkpoint encodes and decodes."""

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import yaml
from conftest import ROOT, SAMPLES

from neuralcodecs.cli import main
from neuralcodecs.pretrained import build
from neuralcodecs.training.run import main as train

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
SMALL = [
    "--trainer.max_steps=3",
    "--trainer.accelerator=cpu",
    "--trainer.val_check_interval=3",
    "--trainer.num_sanity_val_steps=0",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--data.init_args.batch_size=2",
    "--data.init_args.loading.workers=0",
    "--data.init_args.segment_seconds=0.5",
]
WIDTHS = {"filters": 8, "width": 64, "dim": 64, "hidden": 64, "channels": 16, "code_dim": 32}
"""Arguments that only make a network wider, and what they are cut to: 3 steps of a full DAC take minutes on a CPU."""


def narrow(node: Any, name: str = "") -> Any:
    """A config with smaller networks of the same structure. Of ``channels``, only lists are widths of layers."""
    if isinstance(node, dict):
        return {key: narrow(value, key) for key, value in node.items()}
    if isinstance(node, list):
        return [min(item, WIDTHS[name]) if name in WIDTHS else narrow(item) for item in node]
    return min(node, WIDTHS[name]) if name in WIDTHS and name != "channels" else node


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # configs name samples/


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_config_builds_at_its_full_size(config: Path) -> None:
    with torch.device("meta"):
        codec = build(yaml.safe_load(config.read_text())["model"]["init_args"]["codec"], config.name)
    assert codec.device.type == "meta"
    assert codec.describe()["class_path"] == "neuralcodecs.codec.Codec"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_config_trains_and_its_checkpoint_works(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = narrow(yaml.safe_load(config.read_text()))
    for callback in small["trainer"]["callbacks"]:  # shorter files to judge than the config's own
        if callback["class_path"].endswith("EvaluateCheckpoints"):
            callback["init_args"]["data"] = [str(tmp_path / "clip.wav")]
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))
    sources = sorted((SAMPLES / "speech" / "test").glob("*.flac"))[:1]
    clip, rate = soundfile.read(sources[0], stop=16000)
    soundfile.write(tmp_path / "clip.wav", clip, rate)
    train(["fit", "--config", str(tmp_path / "small.yaml"), "--run", str(run), *SMALL])
    assert (run / "checkpoints" / "step=3.ckpt").is_file() and (run / "config.yaml").is_file()
    metrics = json.loads((run / "checkpoints" / "metrics.json").read_text())
    assert metrics["step"] == 3 and metrics["settings"][0]["written"] > 0
    coded, decoded = tmp_path / "clip.ncs", tmp_path / "decoded.wav"
    assert main(["encode", str(tmp_path / "clip.wav"), "-o", str(coded), "-m", str(run)]) == 0
    assert main(["decode", str(coded), "-o", str(decoded), "-m", str(run)]) == 0
    assert soundfile.info(decoded).frames == 16000 and soundfile.info(decoded).samplerate == rate
