"""BD-rate: how much more rate a codec needs for the quality of an anchor. https://github.com/FAU-LMS/bjontegaard

Integrated over the logarithm of the rate with monotone cubic pieces, where the qualities of both curves overlap and
nowhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from neuralcodecs.errors import CodecError

LEAST_POINTS = 4
LEAST_OVERLAP = 0.5
"""Share of either curve's range of quality that the other must cover."""
MOST_DROPPED = 1 / 3


@dataclass(frozen=True)
class BDRate:
    """``percent``: mean difference of rate at equal quality, negative where the codec needs less than the anchor; None
    with a ``reason``. ``overlap``: the smaller of both shares of quality that are shared. ``points``: used of
    the anchor and of the codec. ``dropped``: points of both that cost more than another and are no better.
    """

    percent: float | None
    overlap: float
    points: tuple[int, int]
    dropped: int
    reason: str = ""


def bd_rate(
    anchor: Sequence[tuple[float, float]], codec: Sequence[tuple[float, float]], higher_is_better: bool
) -> BDRate:
    """Of two curves of (rate, quality). Raises CodecError where the package bjontegaard is not installed."""
    bjontegaard = _package()
    curves = [_frontier(curve, 1 if higher_is_better else -1) for curve in (anchor, codec)]
    points = (len(curves[0]), len(curves[1]))
    dropped = len(anchor) + len(codec) - sum(points)
    overlap = 0.0
    if min(points) < LEAST_POINTS:
        return BDRate(None, overlap, points, dropped, f"fewer than {LEAST_POINTS} points that rise in quality")
    if dropped > MOST_DROPPED * (len(anchor) + len(codec)):
        return BDRate(None, overlap, points, dropped, "the curves do not rise with the rate")
    ranges = [(curve[0][1], curve[-1][1]) for curve in curves]
    shared = min(high for _, high in ranges) - max(low for low, _ in ranges)
    overlap = max(0.0, shared) / max(high - low for low, high in ranges)
    if overlap < LEAST_OVERLAP:
        return BDRate(None, overlap, points, dropped, f"the qualities overlap by {100 * overlap:.0f} % only")
    columns = [np.array(column) for curve in curves for column in zip(*curve, strict=True)]
    percent = bjontegaard.bd_rate(*columns, method="pchip", require_matching_points=False, min_overlap=0)
    return BDRate(float(percent), overlap, points, dropped)


def bd_rates(summary: Mapping[str, Any], anchor: str) -> dict[str, Any]:
    """Of every codec of a summary against ``anchor``, per metric, by rates as written; plain data.

    Raises CodecError where the summary has no such codec.
    """
    codecs = summary["codecs"]
    if anchor not in codecs:
        raise CodecError(f"--anchor {anchor}: no such codec here: give one of {', '.join(codecs)}")
    metrics: dict[str, Any] = {}
    for metric, higher in summary["higher_is_better"].items():
        curves = {name: _curve(facts, metric) for name, facts in codecs.items()}
        others = {name: curve for name, curve in curves.items() if name != anchor and curve}
        if curves[anchor] and others:
            metrics[metric] = {n: asdict(bd_rate(curves[anchor], curve, higher)) for n, curve in others.items()}
    method = f"pchip on log rate, no extrapolation, overlap of at least {LEAST_OVERLAP:g} (bjontegaard "
    return {"anchor": anchor, "method": f"{method}{version('bjontegaard')})", "metrics": metrics}


def _curve(facts: Mapping[str, Any], metric: str) -> list[tuple[float, float]]:
    return [(s["rate_written"], s["figures"][metric]) for s in facts["settings"] if metric in s.get("figures", {})]


def _frontier(curve: Sequence[tuple[float, float]], sign: int) -> list[tuple[float, float]]:
    """Points by rising rate, without those that are no better than a cheaper one; quality times ``sign``."""
    kept: list[tuple[float, float]] = []
    for rate, quality in sorted((rate, sign * quality) for rate, quality in curve):
        if not kept or quality > kept[-1][1]:
            kept.append((rate, quality))
    return kept


def _package() -> Any:
    try:
        import bjontegaard
    except ImportError as error:
        raise CodecError(f"BD-rates need more packages: pip install 'neuralcodecs[judge]' ({error})") from error
    return bjontegaard
