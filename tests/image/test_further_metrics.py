"""Metrics by piq: the ideal value for equal pictures, order, refusals."""

import pytest
import torch
from conftest import SAMPLES

from neuralcodecs import CodecError
from neuralcodecs.criteria import MetricFailure
from neuralcodecs.image import Image

pytest.importorskip("piq", reason="these metrics need the package piq")
from neuralcodecs.image.further_metrics import KNOWN, PiqMetric


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_less_noise_is_better_and_none_is_ideal(name: str) -> None:
    metric = PiqMetric(name)
    picture = Image().read(SAMPLES / "image" / "test" / "kodim19.png")[0][:, 100:292, 40:232]
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    none, little, much = (metric((picture + s * noise).clamp(-1, 1), picture, 0)[name] for s in (0, 0.05, 0.3))
    assert none == pytest.approx(1.0 if metric.higher_is_better else 0.0, abs=1e-4)
    sign = 1 if metric.higher_is_better else -1
    assert sign * none > sign * little > sign * much
    assert name.upper()[:4] in metric.definition.upper() and "piq" in metric.definition


def test_what_is_too_small_has_no_figure() -> None:
    tiny = torch.zeros(3, 8, 8)
    with pytest.raises(MetricFailure, match="vif"):
        PiqMetric("vif")(tiny, tiny, 0)
    with pytest.raises(CodecError, match="no picture metric dists: give one of vif"):
        PiqMetric("dists")
