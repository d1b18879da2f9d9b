"""Comparisons: the interval covers as often as it says, pairs are of one file, protocols must agree."""

import numpy as np
import pytest
from judged import made_run

from neuralcodecs import CodecError
from neuralcodecs.evaluation.paired import compare, interval, table


def test_an_interval_misses_the_truth_about_as_often_as_it_says() -> None:
    """Of 200 samples of 35 differences around 0: binomial(200, 0.05) is 2 to 21 but for one time in 1000; the
    percentile interval is a little narrow at 35, hence up to 26."""
    generator = np.random.default_rng(1)
    intervals = [interval(generator.normal(0, 1, 35)) for _ in range(200)]
    assert 2 <= sum(low > 0 or high < 0 for low, high in intervals) <= 26


def test_pairing_shows_what_the_spread_of_files_hides() -> None:
    generator = np.random.default_rng(0)
    hard = generator.normal(0, 5, 30)
    a = made_run(hard + generator.normal(0, 0.05, 30))
    better = made_run(hard + 0.1 + generator.normal(0, 0.05, 30), "b")
    (rate, score) = compare(a, better).differences
    assert score.verdict == "B is better" and score.low > 0 and score.better > 20
    assert rate.metric == "rate" and rate.difference == 0 and rate.verdict == "no difference shown"
    same = made_run(hard + generator.normal(0, 0.05, 30), "c")
    assert compare(a, same).differences[1].verdict == "no difference shown"
    assert compare(a, better) == compare(a, better), "the bootstrap is not seeded"
    text = "\n".join(table(compare(better, a)))
    assert "B is worse" in text and "30/30" not in text and "8 levels" in text


def test_files_are_paired_by_name_and_settings_by_rate() -> None:
    values = np.arange(30.0)
    a = made_run(values)
    fewer = made_run(values[:12], "b", rate=6.3, setting="4 levels")
    (rate, score) = compare(a, fewer).differences
    assert score.files == 12 and score.difference == 0 and rate.difference == pytest.approx(0.3)
    assert rate.verdict == "B needs more" and (score.setting_a, score.setting_b) == ("8 levels", "4 levels")
    with pytest.raises(CodecError, match="no rate within 10 %"):
        compare(a, made_run(values, "b", rate=9.0, setting="4 levels"))
    assert "too few files" in compare(a, made_run(values[:3], "b")).differences[1].verdict


def test_other_definitions_and_other_files_are_refused_or_told() -> None:
    a = made_run(np.arange(30.0))
    other = made_run(np.arange(30.0), "b", metrics={"score": "another definition"})
    with pytest.raises(CodecError, match="score is defined otherwise"):
        compare(a, other)
    assert any("defined otherwise" in remark for remark in compare(a, other, anyway=True).remarks)
    changed = made_run(np.arange(30.0), "b", data={"files": {"3.wav": "ff"}, "sha256": "22"})
    with pytest.raises(CodecError, match=r"1 files of one name differ, such as 3\.wav"):
        compare(a, changed)
    moved = made_run(np.arange(30.0), "b", code={"version": "1", "commit": "b"})
    assert compare(a, moved).remarks == ["made by different code: 0 a and 1 b"]
    with pytest.raises(CodecError, match="--metric pesq: not measured in both"):
        compare(a, moved, ["pesq"])
