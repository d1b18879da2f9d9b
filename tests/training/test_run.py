"""What ``train.py`` makes of a config on the machine at hand."""

from pathlib import Path

import pytest
import torch
import yaml
from conftest import SAMPLES

from neuralcodecs.training.run import instead_of, main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true", "64-true"])
def test_half_precision_is_for_gpus(precision: str) -> None:
    assert instead_of(precision, "cpu") == ("32-true" if precision == "bf16-mixed" else None)
    assert instead_of(precision, "gpu") is None
    assert (instead_of(precision, "auto") is None) == (torch.accelerator.is_available() or precision != "bf16-mixed")


def test_a_config_for_gpus_trains_in_32_bits_on_a_cpu(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "configs" / "audio" / "quickstart_speech.yaml").read_text())
    config["trainer"] |= {"precision": "bf16-mixed", "accelerator": "cpu", "max_steps": 1, "limit_val_batches": 0}
    config["trainer"]["callbacks"] = []
    folder = str(SAMPLES / "speech" / "train")
    config["data"]["init_args"] |= {"train": [folder], "val": [folder], "batch_size": 1, "segment_seconds": 0.1}
    config["data"]["init_args"].setdefault("loading", {})["workers"] = 0
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    seen: list[torch.dtype] = []
    hook = torch.nn.modules.module.register_module_forward_hook(lambda _, __, output: look(output, seen))
    try:
        with pytest.warns(UserWarning, match="on a CPU training is in 32-true"):
            main(["fit", "--config", str(tmp_path / "config.yaml"), "--run", str(tmp_path / "run")])
    finally:
        hook.remove()
    assert seen and set(seen) == {torch.float32}


def look(output: object, seen: list[torch.dtype]) -> None:
    if torch.is_tensor(output) and output.is_floating_point():
        seen.append(output.dtype)
