"""Training of a prior: the codec stays, a resumed run is the uninterrupted one, and the model folder's prior codes."""

import copy
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, SAMPLES
from lightning.pytorch.callbacks import ModelCheckpoint
from tiny import tiny_codec, tiny_data, tiny_trainer

from neuralcodecs import Codec
from neuralcodecs.coding import Coding
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.prior_rates import count, encode_files
from neuralcodecs.files import read_codes, write_codes
from neuralcodecs.pretrained import named
from neuralcodecs.priors.autoregressive import FactorisedTransformer
from neuralcodecs.training import EvaluatePrior, Optimization, PriorTask
from neuralcodecs.training.prior_judge import publish
from neuralcodecs.training.prior_rounding import exported_within

TEST = str(sorted((SAMPLES / "speech" / "test").glob("*.flac"))[0])


def task(codec: Path, lr: float = 0.01) -> PriorTask:
    torch.manual_seed(0)
    prior = partial(FactorisedTransformer, dim=16, heads=2, layers=1, window=32)
    return PriorTask(str(codec), prior, Optimization(partial(torch.optim.AdamW, lr=lr)))


def fit(folder: Path, codec: Path, steps: int, ckpt: str | None = None, *callbacks: Any) -> PriorTask:
    made = task(codec)
    saving = ModelCheckpoint(folder, "{step}", every_n_train_steps=3, save_top_k=-1)
    trainer = tiny_trainer(folder, max_steps=steps, callbacks=[*callbacks, saving])
    trainer.fit(made, tiny_data(), ckpt_path=ckpt)
    return made


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("codec")
    tiny_codec().eval().save_pretrained(folder)
    return folder


def test_a_prior_is_trained_judged_resumed_and_published(codec: Path, tmp_path: Path) -> None:
    judge = EvaluatePrior([TEST], levels=[1, 3], counted=2)
    whole = fit(tmp_path / "whole", codec, 6, None, judge)
    original = Codec.from_pretrained(codec).state_dict()
    assert all(torch.equal(value, original[name]) for name, value in whole.codec.state_dict().items())
    fresh = task(codec).prior.state_dict()
    moved = [name for name, value in whole.prior.state_dict().items() if not torch.equal(value, fresh[name])]
    assert {name for name, p in whole.prior.named_parameters() if p.numel()} <= set(moved)

    resumed = fit(tmp_path / "again", codec, 6, str(tmp_path / "whole" / "step=3.ckpt"))
    assert all(torch.equal(v, resumed.prior.state_dict()[k]) for k, v in whole.prior.state_dict().items())

    metrics = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert metrics["step"] == 6 and [s["levels"] for s in metrics["settings"]] == [1, 3]
    for setting in metrics["settings"]:
        assert setting["nominal"] > setting["static"] > 0 and setting["adaptive"] > 0
        assert setting["loss"] < 1e-3 and setting["written"] == pytest.approx(setting["integer"], rel=0.05)

    model = Codec.from_pretrained(tmp_path / "whole" / "model")
    assert sorted(model.priors) == ["learned", "static"]
    signal, info = model.medium.read(Path(TEST))
    codes = model.encode(signal[None])
    write_codes(tmp_path / "a.ncs", model, codes, info, coding=Coding(model, "learned"))
    assert torch.equal(read_codes(tmp_path / "a.ncs", model)[0]["codes"], codes["codes"])


def test_a_run_of_a_prior_starts_from_an_earlier_one_that_fits(codec: Path, tmp_path: Path) -> None:
    done = fit(tmp_path, codec, 3)
    other = task(codec)
    other.start_from(str(tmp_path / "step=3.ckpt"))
    assert all(torch.equal(v, done.prior.state_dict()[k]) for k, v in other.prior.state_dict().items())
    small = partial(FactorisedTransformer, dim=8, heads=2, layers=1, window=32)
    with pytest.raises(CodecError, match="does not fit"):
        PriorTask(str(codec), small, other.optimization).start_from(str(tmp_path / "step=3.ckpt"))


def test_a_codec_is_named_by_a_config_or_refused(tmp_path: Path) -> None:
    config = ROOT / "configs" / "audio" / "quickstart_speech.yaml"
    assert named(str(config)).medium.rate == 16000
    (tmp_path / "empty.yaml").write_text("model: {class_path: x}")
    for source in (tmp_path / "none.yaml", tmp_path / "empty.yaml", tmp_path / "none"):
        with pytest.raises(CodecError):
            named(str(source))


def test_a_prior_whose_export_is_lossy_is_tuned_or_not_published(codec: Path, tmp_path: Path) -> None:
    made = task(codec)
    coded = encode_files(made.codec, [Path(TEST)], [3])[3]
    publish(made.codec, count(made.codec, coded), exported_within(made.prior, coded, coded, 0), tmp_path / "fair")
    assert Codec.from_pretrained(tmp_path / "fair").priors.keys() == {"learned", "static"}
    before = copy.deepcopy(made.prior.state_dict())
    # integers of small networks lose nothing that would matter: ask for more than any export can give
    with pytest.raises(CodecError, match=r"exact integers cost .*more than -50.000%.*tuning_steps.*most_loss"):
        exported_within(made.prior, coded, coded, 1, most_loss=-0.5)
    tuned = exported_within(made.prior, coded, coded, 8, most_loss=-1e-4)  # it learns the codes that it is shown
    assert tuned.fingerprint != made.prior.export().fingerprint
    assert all(torch.equal(value, before[name]) for name, value in made.prior.state_dict().items())
