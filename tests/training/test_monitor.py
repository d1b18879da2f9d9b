"""A ModelCheckpoint can monitor what is evaluated, and saves the very weights that were judged."""

import json
from pathlib import Path

import pytest
from conftest import SAMPLES
from lightning.pytorch.callbacks import ModelCheckpoint
from tiny import tiny_data, tiny_task, tiny_trainer

from neuralcodecs import CodecError
from neuralcodecs.audio.metrics import STFTDistance
from neuralcodecs.evaluation.history import best
from neuralcodecs.evaluation.measure import evaluate
from neuralcodecs.pretrained import load
from neuralcodecs.training import EvaluateCheckpoints, WeightAverage

MONITORED = "eval/stft_distance/3_levels"


def test_the_best_checkpoint_is_the_one_with_the_best_figure(tmp_path: Path) -> None:
    clip = sorted((SAMPLES / "speech" / "val").glob("*"))[0]
    judge = EvaluateCheckpoints([str(clip)], examples=0, every_n_train_steps=2)
    saver = ModelCheckpoint(
        tmp_path / "best", "{step}", monitor=MONITORED, mode="min", save_top_k=-1, every_n_train_steps=2
    )
    trainer = tiny_trainer(tmp_path / "all", judge, saver)
    trainer.fit(tiny_task(), tiny_data())
    scores = {Path(path).name: float(value) for path, value in saver.best_k_models.items()}
    assert sorted(scores) == ["step=2.ckpt", "step=4.ckpt", "step=6.ckpt"] and len(set(scores.values())) == 3
    for name, score in scores.items():
        saved = tmp_path / "best" / name
        written = json.loads(saved.with_suffix(".metrics.json").read_text())
        assert written["settings"][1]["figures"]["stft_distance"] == pytest.approx(score, rel=1e-6)
        assert written["protocol"]["model"]["fingerprint"] and clip.name in written["protocol"]["data"]["files"]
        codec = load(saved)
        figures = evaluate(codec, [clip], [3], [STFTDistance()], progress=False).settings[0].figures
        assert figures["stft_distance"] == pytest.approx(score, rel=1e-5), (
            f"{name} holds other weights than were judged"
        )
    found = best(tmp_path / "best", "stft_distance", "3levels")
    assert str(found.checkpoint) == saver.best_model_path and found.remarks == []


def test_an_average_that_would_be_a_step_behind_is_refused(tmp_path: Path) -> None:
    judge = EvaluateCheckpoints([str(SAMPLES / "speech" / "val")], limit=1, every_n_train_steps=2)
    trainer = tiny_trainer(tmp_path, callbacks=[judge, WeightAverage(0.9)])
    with pytest.raises(CodecError, match="must come after WeightAverage"):
        trainer.fit(tiny_task(), tiny_data())
    with pytest.raises(CodecError, match="every_n_train_steps 0"):
        EvaluateCheckpoints(["x"], every_n_train_steps=0)
