"""What a generative decoder gives by numbers of steps and over seeds, with the time of a step."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuralcodecs.captions import with_found
from neuralcodecs.codec import Codec
from neuralcodecs.codes import Codes
from neuralcodecs.criteria import Metric, MetricFailure
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.measure import evaluating
from neuralcodecs.sampling import Sampling

STEPS = (1, 2, 4, 8, 16)
SEEDS = (0, 1, 2)
UNFAIR = (
    "metrics that compare with the original (PSNR, SSIM, SI-SDR, PESQ, STOI, mel distance ...) are unfair to a "
    "generative decoder: they count every detail that it draws anew as an error, and a blur beats it. Distances "
    "of distributions (FID) and listeners do not"
)


@dataclass(frozen=True)
class Way:
    """All files decoded in ``steps`` steps, once per seed.

    ``figures``: by metric, the mean over seeds of the mean over files; ``spreads``: the standard deviation over seeds
    of the latter (0 for one seed). ``failures``: files and seeds without a value, by metric. ``seconds``: of one step
    of a file, mean over all; ``speed``: of decoding, in the medium's unit.
    """

    steps: int
    seeds: tuple[int, ...]
    seconds: float
    speed: float
    figures: dict[str, float]
    spreads: dict[str, float]
    failures: dict[str, int]


def evaluate_ways(
    codec: Codec,
    files: Sequence[Path],
    metrics: Sequence[Metric],
    steps: Sequence[int] = STEPS,
    seeds: Sequence[int] = SEEDS,
    levels: int | None = None,
) -> list[Way]:
    """Measure every number of steps with every seed on the same codes, at ``levels`` (the most by default).

    Raises CodecError for a deterministic decoder and where no file can be read.
    """
    if codec.decoder.sampling is None:
        raise CodecError("this model's decoder is deterministic: it has no steps or seeds to compare")
    pairs = []
    with evaluating(codec):
        for path in files:
            try:
                signal, _ = codec.medium.read(path)
            except CodecError:
                continue  # the evaluation of the same files names it
            codes = codec.encode(signal[None].to(codec.device), levels)
            pairs.append((signal, with_found(codec, codes, path)))
        if not pairs:
            raise CodecError("none of the files can be read: nothing could be evaluated")
        codec.decode(pairs[0][1], Sampling(steps=1))  # the first run of a network costs more than a step
        return [_way(codec, pairs, metrics, count, tuple(seeds)) for count in steps]


def table_of_ways(ways: Sequence[Way], speed_unit: str) -> str:
    """A line per number of steps, figures as mean ± spread over seeds, and what they are worth."""
    names = list(dict.fromkeys(name for way in ways for name in (*way.figures, *way.failures)))
    lines = [["steps", "s/step", f"decode {speed_unit}", *names]]
    for way in ways:
        figures = [_figure(way, name) for name in names]
        lines.append([str(way.steps), f"{way.seconds:.3g}", f"{way.speed:.3g}", *figures])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    table = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([*table, f"mean ± spread over seeds {', '.join(map(str, ways[0].seeds))}; {UNFAIR}"])


def plain(ways: Sequence[Way]) -> dict[str, Any]:
    """For JSON."""
    return {"note": UNFAIR, "ways": [asdict(way) for way in ways]}


def _way(
    codec: Codec,
    pairs: list[tuple[torch.Tensor, Codes]],
    metrics: Sequence[Metric],
    steps: int,
    seeds: tuple[int, ...],
) -> Way:
    extent = sum(codec.medium.extent(tuple(signal.shape[1:])) for signal, _ in pairs)
    means: dict[str, list[float]] = {}
    failures: dict[str, int] = {}
    took = 0.0
    for seed in seeds:
        fresh = [metric.fresh() for metric in metrics]
        values: dict[str, list[float]] = {}
        for signal, codes in pairs:
            started = time.perf_counter()
            decoded = codec.decode(codes, Sampling(seed, steps))[0].cpu().clamp(-1, 1)
            took += time.perf_counter() - started
            for metric in fresh:
                try:
                    for name, value in metric(decoded, signal, codec.medium.rate).items():
                        values.setdefault(name, []).append(value)
                except MetricFailure:
                    for name in metric.names:
                        failures[name] = failures.get(name, 0) + 1
        for name, found in (values | _over_files(fresh)).items():
            means.setdefault(name, []).append(float(np.mean(found)))
    return Way(
        steps=steps,
        seeds=seeds,
        seconds=took / (len(seeds) * len(pairs) * steps),
        speed=codec.medium.speed(extent * len(seeds), took),
        figures={name: float(np.mean(found)) for name, found in means.items()},
        spreads={name: float(np.std(found)) for name, found in means.items()},
        failures=failures,
    )


def _over_files(metrics: Sequence[Metric]) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {}
    for metric in metrics:
        try:
            figures |= {name: [value] for name, value in metric.over_files().items()}
        except MetricFailure:
            continue  # too few files for a distribution; the evaluation of the same files says so
    return figures


def _figure(way: Way, name: str) -> str:
    value = f"{way.figures[name]:.3f} ± {way.spreads[name]:.3f}" if name in way.figures else "-"
    return f"{value} ({way.failures[name]} failed)" if name in way.failures else value
