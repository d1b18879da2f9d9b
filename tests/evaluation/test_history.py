"""The best checkpoint of a run, by metric and rate."""

import json
from pathlib import Path

import pytest
import torch
from judged import made_protocol

from neuralcodecs import CodecError
from neuralcodecs.cli import main
from neuralcodecs.evaluation.history import best


def run_of(folder: Path, values: dict[int, tuple[float, float]], **changes: object) -> Path:
    """A run whose checkpoints have ``score`` at 3 and at 6 kbit/s."""
    (folder / "checkpoints").mkdir(parents=True)
    for step, scores in values.items():
        settings = [
            {"levels": n, "nominal": 0.75 * n, "figures": {"score": v}} for n, v in zip((4, 8), scores, strict=True)
        ]
        facts = {"step": step, "unit": "kbit/s", "settings": settings, "protocol": made_protocol(**changes), "rows": []}
        torch.save({"step": step}, folder / "checkpoints" / f"step={step}.ckpt")
        (folder / "checkpoints" / f"step={step}.metrics.json").write_text(json.dumps(facts))
    return folder


def test_each_rate_has_its_own_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(tmp_path / "run", {10: (1.0, 3.0), 20: (2.0, 2.5), 30: (1.5, 2.9)})
    assert best(run, "score", "6kbps").checkpoint.name == "step=10.ckpt"
    for at in ("3kbps", "3000 bps", "3kbit/s", "4levels", "4_levels", "3"):
        assert best(run, "score", at).checkpoint.name == "step=20.ckpt"
    assert best(run, "score").rate == 6.0
    assert main(["best", str(run), "--metric", "score", "--at", "3kbps"]) == 0
    assert capsys.readouterr().out.split() == [
        str(run / "checkpoints" / "step=20.ckpt"), "score", "2.0000", "at", "3", "kbit/s",
    ]  # fmt: skip
    (run / "checkpoints" / "step=10.ckpt").unlink()
    assert best(run, "score", "6kbps").checkpoint.name == "step=30.ckpt", "a checkpoint that is gone cannot be the best"


def test_lower_may_be_better_and_doubts_are_told(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", {10: (1.0, 3.0), 20: (2.0, 2.5)}, higher_is_better={"score": False})
    found = best(run, "score", "6kbps")
    assert found.checkpoint.name == "step=20.ckpt" and found.remarks == []
    path = run / "checkpoints" / "step=20.metrics.json"
    facts = json.loads(path.read_text())
    facts["protocol"]["metrics"]["score"] = "another"
    path.write_text(json.dumps(facts))
    assert "defined otherwise" in best(run, "score", "6kbps").remarks[0]


def test_questions_without_an_answer(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", {10: (1.0, 3.0)})
    for at, said in (("9kbps", "was judged at 3 kbit/s"), ("0.25bpp", "are in kbit/s"), ("fast", "such as 6kbps")):
        with pytest.raises(CodecError, match=said):
            best(run, "score", at)
    with pytest.raises(CodecError, match="no checkpoint has pesq: it was measured score"):
        best(run, "pesq", "3kbps")
    with pytest.raises(CodecError, match="no evaluated checkpoint"):
        best(tmp_path, "score")
