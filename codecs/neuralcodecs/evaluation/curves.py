"""The course of a run as one picture, drawn from its TensorBoard files."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from neuralcodecs.atomic import atomic

PICTURE = "curves.png"
GROUPS = ("train/", "val/", "eval/", "codebook/usage", "codebook/perplexity", "throughput/")
SMOOTHING = 50
"""Points of a curve over which its running mean goes, at most a tenth of them."""

MOST_NAMED = 8
"""Curves of a panel that a legend can name."""

Series = dict[str, list[tuple[int, float]]]


def draw_curves(run: Path) -> Path | None:
    """Draw every scalar of the run in ``run`` into ``curves.png`` beside its events; None when it has logged nothing.

    A panel per quantity: what differs by level or codebook alone shares one. Noisy curves are drawn pale, with their
    running mean over them.
    """
    series = _read(run)
    panels: dict[str, Series] = defaultdict(dict)
    for tag, points in series.items():
        if tag.startswith(GROUPS):
            title, label = _panel(tag)
            panels[title][label] = points
    if not panels:
        return None
    target = run / PICTURE
    figure = _figure(panels)
    with atomic(target) as temporary:
        figure.savefig(temporary, format="png", dpi=80)
    return target


def _read(run: Path) -> Series:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in sorted(events.Tags()["scalars"])}


def _panel(tag: str) -> tuple[str, str]:
    """Title of the panel and label of the curve: ``eval/pesq_wb/8_levels`` is the curve 8_levels of eval/pesq_wb."""
    head, _, last = tag.rpartition("/")
    return (head, last) if last[:1].isdigit() else (tag, "")


def _figure(panels: dict[str, Series]) -> Any:
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure

    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows), layout="constrained")
    for number, (title, curves) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(rows, columns, number)
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
        many = len(curves) > MOST_NAMED
        if many:  # such as 32 codebooks
            axes.set_prop_cycle(color=matplotlib.colormaps["viridis"](np.linspace(0, 1, len(curves))))
            axes.set_xlabel(f"dark to light: {min(map(_number, curves))} to {max(map(_number, curves))}", fontsize=7)
        for label in sorted(curves, key=_number):
            _draw(axes, label, np.array(curves[label]))
        if 1 < len(curves) <= MOST_NAMED:
            axes.legend(fontsize=6, ncols=2)
    return figure


def _number(label: str) -> int:
    return int(label.split("_")[0] or 0)


def _draw(axes: Any, label: str, points: np.ndarray) -> None:
    steps, values = points[:, 0], points[:, 1]
    width = min(SMOOTHING, len(values) // 10)
    if width < 2:
        axes.plot(steps, values, marker="." if len(values) < 20 else None, linewidth=1, label=label)
        return
    (pale,) = axes.plot(steps, values, alpha=0.25, linewidth=0.5)
    mean = np.convolve(values, np.ones(width) / width, "valid")
    axes.plot(steps[width - 1 :], mean, color=pale.get_color(), linewidth=1.2, label=label)
