"""Published with its discriminator, a model can be trained on: export, then fit --init."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, SAMPLES
from safetensors.torch import save_file
from tiny import tiny_data, tiny_task, tiny_trainer

from neuralcodecs.audio.losses import CompressedSpectrum
from neuralcodecs.cli import main
from neuralcodecs.errors import CodecError
from neuralcodecs.models import SHIPPED
from neuralcodecs.pretrained import build, load, load_discriminator
from neuralcodecs.quantizers.codebook import CodebookBank
from neuralcodecs.training.run import main as train
from neuralcodecs.training.stage import start_from


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    tiny_trainer(folder, max_steps=3).fit(tiny_task(probability=1.0), tiny_data())
    metrics = {"checkpoint": "step=3.ckpt", "step": 3, "unit": "kbit/s", "definitions": {"mel": "a distance"}}
    metrics["settings"] = [
        {"levels": 3, "files": 2, "nominal": 1.5, "entropy": 1.2, "written": 1.625, "figures": {"mel": 0.75}}
    ]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder.parent


def test_export_has_average_card_and_discriminator(run: Path, tmp_path: Path) -> None:
    for name, options in [("a", []), ("raw", ["--raw-weights"]), ("b", ["--discriminator"])]:
        assert main(["export", str(run), str(tmp_path / name), *options]) == 0
    assert not (tmp_path / "a" / "discriminator.safetensors").exists()
    averaged, raw, checkpoint = load(tmp_path / "a"), load(tmp_path / "raw"), load(run)
    name, weight = next(iter(checkpoint.named_parameters()))
    assert torch.equal(dict(averaged.named_parameters())[name], weight)
    assert not torch.equal(dict(raw.named_parameters())[name], weight)
    card = (tmp_path / "a" / "README.md").read_text()
    assert "| 3 | 1.500 | 1.200 | 1.625 | 0.750 |" in card and "mel: a distance" in card
    assert "1.625" not in (tmp_path / "raw" / "README.md").read_text()  # measured on the average
    assert load_discriminator(tmp_path / "b").keys() == load_discriminator(run / "checkpoints" / "step=3.ckpt").keys()
    assert main(["export", str(tmp_path / "a"), str(tmp_path / "c"), "--discriminator"]) == 2


def test_a_run_starts_from_an_exported_folder(run: Path, tmp_path: Path) -> None:
    exported, task = tmp_path / "exported", tiny_task()
    assert main(["export", str(run), str(exported), "--discriminator"]) == 0
    start_from(str(exported), task.codec, task.adversary)
    for own, theirs in [
        (task.codec.state_dict(), load(exported).state_dict()),
        (task.adversary.discriminator.state_dict(), load_discriminator(exported)),
    ]:
        assert own.keys() == theirs.keys() and all(torch.equal(own[k], theirs[k]) for k in own)
    theirs = load_discriminator(exported)
    theirs.pop(next(iter(theirs)))
    save_file(theirs, exported / "discriminator.safetensors")
    with pytest.raises(CodecError, match=r"the discriminator in .* does not fit"):
        start_from(str(exported), task.codec, task.adversary)


def test_fit_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = yaml.safe_load((ROOT / "configs" / "audio" / "quickstart_speech.yaml").read_text())
    small = config["model"]["init_args"]["codec"]["init_args"]
    for part in ("encoder", "decoder"):
        small[part]["init_args"]["filters"] = 4
    config["trainer"]["callbacks"] = [{"class_path": "lightning.pytorch.callbacks.ModelCheckpoint"}]
    del config["model"]["init_args"]["optimization"]["init_args"]["scheduler"]  # it has a learning rate of its own
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(5)
    codec = build(config["model"]["init_args"]["codec"], "small")
    codec.save_pretrained(tmp_path / "start")
    common = ["fit", "--config", str(tmp_path / "small.yaml"), "--init", str(tmp_path / "start")]
    common += ["--trainer.max_steps=1", "--model.init_args.optimization.init_args.optimizer.init_args.lr=0.0"]
    common += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    train([*common, "--run", str(tmp_path / "run"), "--data.init_args.batch_size=2"])
    trained = dict(load(tmp_path / "run").named_parameters())
    assert all(torch.equal(trained[name], value) for name, value in codec.named_parameters())


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="this tree has no default models")
def test_the_default_for_speech_goes_on_where_it_ended() -> None:
    config = load(SHIPPED / "speech").config()
    tuned, fresh = build(config, "the shipped config").train(), build(config, "the shipped config").train()
    start_from(str(SHIPPED / "speech"), tuned, None)
    assert tuned.quantizer.settled and not fresh.quantizer.settled
    (bank,) = [m for m in tuned.modules() if isinstance(m, CodebookBank)]
    signal, _ = tuned.medium.read(SAMPLES / "speech" / "test" / "libri_1688-142285-0008.flac")
    batch = torch.stack([signal[:, start : start + 16000] for start in (16000, 32000)])
    loss, before = CompressedSpectrum(), bank.codebooks.clone()
    with torch.no_grad():
        assert loss(tuned(batch, 6)[0], batch) < 0.7 * loss(fresh(batch, 6)[0], batch)
    tuned.quantizer.update()
    moved = (bank.codebooks - before).norm(dim=-1) / before.norm(dim=-1)
    # 100 vectors choose a few of 1024 codes; the others stay although no usage is known, and nothing begins anew
    assert 0.8 < (moved[:6] == 0).float().mean() < 1 and not moved[6:].any() and not bank.replaced.any()
