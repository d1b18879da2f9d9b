"""Is a change real? Differences of two codecs on the same files, with bootstrap intervals.

https://doi.org/10.1201/9780429246593 (Efron and Tibshirani 1993, section 13: percentile intervals).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.figures_text import aligned
from neuralcodecs.evaluation.history import NEAR, Judged, disagreements
from neuralcodecs.evaluation.store import Line

DRAWS = 10_000
SEED = 0
LEAST_FILES = 6
"""Of fewer files the percentiles of a bootstrap are known to be too narrow."""
BITS = "rate"


class Difference(NamedTuple):
    """B minus A of one metric at one pair of settings: the mean over ``files`` and its 95 % interval."""

    setting_a: str
    setting_b: str
    metric: str
    files: int
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    better: int
    """Files on which B is better; of a rate: on which it needs less."""
    higher_is_better: bool

    @property
    def verdict(self) -> str:
        """In words, whether there is a difference."""
        if self.files < LEAST_FILES:
            return f"too few files ({self.files}) to tell"
        if self.low <= 0 <= self.high:
            return "no difference shown"
        if self.metric == BITS:
            return "B needs " + ("more" if self.difference > 0 else "less")
        return "B is " + ("better" if (self.difference > 0) == self.higher_is_better else "worse")


class Comparison(NamedTuple):
    """``remarks``: what to know before believing it."""

    a: str
    b: str
    unit: str
    differences: list[Difference]
    remarks: list[str]


def compare(a: Judged, b: Judged, metrics: Sequence[str] | None = None, anyway: bool = False) -> Comparison:
    """Every metric at every setting that both have, or that have rates within 10 % of each other.

    Raises CodecError where protocols differ (unless ``anyway``) and where nothing can be paired.
    """
    told = disagreements(a, b, anyway)
    shared = [name for name in a.protocol["metrics"] if name in b.protocol["metrics"]]
    for name in metrics or ():
        if name not in shared:
            raise CodecError(f"--metric {name}: not measured in both: give some of {', '.join(shared)}")
    pairs = list(_pairs(a.lines, b.lines))
    if not pairs:
        raise CodecError(f"{a.name} and {b.name} share no setting and no rate within {100 * NEAR:.0f} %")
    differences = []
    for left, right in pairs:
        files = sorted(left.keys() & right.keys())
        if not files:
            raise CodecError(f"{a.name} and {b.name} were judged on different files: there is nothing to pair")
        both = [(left[name], right[name]) for name in files]
        differences.append(_difference(BITS, [(_rate(x), _rate(y)) for x, y in both], False, both[0]))
        for metric in metrics or shared:
            values = [(x.figures[metric], y.figures[metric]) for x, y in both if metric in x.figures.keys() & y.figures]
            if values:
                differences.append(_difference(metric, values, a.protocol["higher_is_better"][metric], both[0]))
    return Comparison(a.name, b.name, a.lines[0].unit, differences, told)


def table(comparison: Comparison) -> list[str]:
    """The comparison as text, with what it says in words."""
    rows = [["A", "B", "metric", "files", "mean A", "mean B", "B - A", "95 % interval", "B better on", "verdict"]]
    for d in comparison.differences:
        name = f"{d.metric} {comparison.unit}" if d.metric == BITS else d.metric
        interval = f"[{d.low:+.4g}, {d.high:+.4g}]"
        figures = [f"{d.mean_a:.4g}", f"{d.mean_b:.4g}", f"{d.difference:+.4g}", interval, f"{d.better}/{d.files}"]
        rows.append([d.setting_a, d.setting_b, name, str(d.files), *figures, d.verdict])
    tested = sum(d.files >= LEAST_FILES and d.metric != BITS for d in comparison.differences)
    return [
        f"A: {comparison.a}   B: {comparison.b}",
        *(f"note: {remark}" for remark in comparison.remarks),
        *aligned(rows),
        f"intervals: percentiles of {DRAWS} bootstrap samples of the files (seed {SEED}), taken as independent",
        f"each holds alone: of {tested} intervals about {tested / 20:.1f} would exclude 0 where nothing has changed",
    ]


def interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile interval of the mean, the same in every call."""
    generator = np.random.default_rng(SEED)
    picked = generator.integers(len(differences), size=(DRAWS, len(differences)))
    low, high = np.percentile(differences[picked].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _difference(
    metric: str, values: Sequence[tuple[float, float]], higher: bool, lines: tuple[Line, Line]
) -> Difference:
    a, b = np.array(values, dtype=np.float64).T
    steps = b - a
    better = int((steps > 0).sum() if higher else (steps < 0).sum())
    means = (float(a.mean()), float(b.mean()), float(steps.mean()))
    return Difference(lines[0].setting, lines[1].setting, metric, len(values), *means, *interval(steps), better, higher)


def _pairs(a: Sequence[Line], b: Sequence[Line]) -> Iterator[tuple[dict[str, Line], dict[str, Line]]]:
    """Settings of one name, else of the nearest rate if that is near; each as its lines by file."""
    left, right = _settings(a), _settings(b)
    for name, lines in left.items():
        if name in right:
            yield lines, right[name]
            continue
        rate = _mean_rate(lines)
        nearest = min(right.values(), key=lambda other: abs(_mean_rate(other) - rate))
        if abs(_mean_rate(nearest) - rate) <= NEAR * rate:
            yield lines, nearest


def _settings(lines: Sequence[Line]) -> dict[str, dict[str, Line]]:
    found: dict[str, dict[str, Line]] = {}
    for line in sorted(lines, key=lambda line: line.order):
        found.setdefault(line.setting, {})[line.file] = line
    return found


def _mean_rate(lines: dict[str, Line]) -> float:
    return float(np.mean([_rate(line) for line in lines.values()]))


def _rate(line: Line) -> float:
    """As written, in the line's unit."""
    return line.written_bits / line.extent / (1000 if line.unit == "kbit/s" else 1)
