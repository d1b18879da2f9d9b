"""BD-rates of curves whose difference is known, and curves that have none."""

import math

import pytest

from neuralcodecs import CodecError

pytest.importorskip("bjontegaard", reason="BD-rates need the package bjontegaard")
from neuralcodecs.evaluation.bd_rate import bd_rate, bd_rates

RATES = (4.0, 6.0, 9.0, 14.0, 24.0)


def curve(saving: float = 1.0, sign: int = 1, low: int = 0) -> list[tuple[float, float]]:
    return [(rate * saving, sign * (1 + math.log(rate))) for rate in RATES[low:]]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("saving", [0.5, 1.0, 1.3])
def test_the_same_quality_for_a_share_of_the_rate_is_that_share(saving: float, sign: int) -> None:
    found = bd_rate(curve(sign=sign), curve(saving, sign), higher_is_better=sign > 0)
    assert found.percent == pytest.approx(100 * (saving - 1), abs=1e-6)
    assert found.overlap == pytest.approx(1) and found.dropped == 0


def test_nothing_is_extrapolated() -> None:
    better = [(rate, quality + 10) for rate, quality in curve()]
    apart = bd_rate(curve(), better, True)
    assert apart.percent is None and apart.overlap == 0 and "overlap" in apart.reason
    half = bd_rate(curve(), curve(0.5, low=1), True)
    assert half.percent == pytest.approx(-50, abs=1e-6) and half.overlap == pytest.approx(
        1 - math.log(1.5) / math.log(6)
    )


def test_points_that_cost_more_for_nothing_are_dropped_and_counted() -> None:
    saturated = [*curve(), (30.0, curve()[-1][1]), (40.0, 0.0)]
    assert bd_rate(curve(), saturated, True).dropped == 2
    assert bd_rate(curve(), saturated, True).percent == pytest.approx(0, abs=1e-6)
    falling = [(rate, -quality) for rate, quality in curve()]
    assert bd_rate(curve(), falling, True).percent is None


def test_a_summary_names_its_anchor() -> None:
    def facts(saving: float) -> dict:
        points = curve(saving)
        return {"settings": [{"rate_written": rate, "figures": {"pesq_wb": quality}} for rate, quality in points]}

    summary = {"codecs": {"opus": facts(1), "ours": facts(0.5)}, "higher_is_better": {"pesq_wb": True, "stoi": True}}
    found = bd_rates(summary, "opus")
    assert found["metrics"]["pesq_wb"]["ours"]["percent"] == pytest.approx(-50, abs=1e-6)
    assert "stoi" not in found["metrics"] and "bjontegaard" in found["method"]
    with pytest.raises(CodecError, match="--anchor mp3: no such codec"):
        bd_rates(summary, "mp3")
