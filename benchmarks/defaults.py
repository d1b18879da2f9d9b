"""The default models judged on whole test sets by written bits, beside the classical codecs of issue 9; their cards.

    python benchmarks/defaults.py --speech DATA/speech/test --image DATA/image/test --results results.json --workers 8
    python benchmarks/defaults.py --results results.json --cards

Files are shared by worker processes of --threads threads; results that are there, of the same weights, are not measured
again. For every other codec it prints the rate at which the model's curve reaches each of its figures. --cards writes
``metrics.json`` and ``README.md`` into the models' folders, with the facts of defaults.yaml. All metrics are means over
files; ``mel_distance`` is the mean over its seven scales.
"""

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from neuralcodecs.card import CARD, Origin, card
from neuralcodecs.codec import Codec
from neuralcodecs.evaluation.figures import Row
from neuralcodecs.evaluation.measure import evaluate, find_files
from neuralcodecs.models import METRICS, SHIPPED, WEIGHTS
from neuralcodecs.pretrained import fingerprint, load

ABOUT = Path(__file__).with_suffix(".yaml")
LESS_IS_BETTER = ("mel_distance", "stft_distance")
SAMPLES = Path(__file__).parents[1] / "samples"

loaded = cache(load)


def measure(model: Path, levels: Sequence[int] | None, threads: int, file: Path) -> tuple[list[Row], dict[str, str]]:
    """Rows of one file, and how the metrics are defined."""
    torch.set_num_threads(threads)
    found = evaluate(loaded(model), [file], levels, progress=False)
    return found.rows, found.definitions


def summarize(codec: Codec, rows: Sequence[Row], definitions: dict[str, str]) -> dict[str, Any]:
    """Total bits over total extent, and means of the figures, by the number of levels."""
    settings = []
    for levels in sorted({row.levels for row in rows}):
        own = [row for row in rows if row.levels == levels]
        extent = sum(row.extent for row in own)
        unit = codec.medium.bitrate(1.0, own[0].shape) * own[0].extent / extent
        coded = [row.nominal_bits if row.coded_bits is None else row.coded_bits for row in own]
        settings.append(
            {
                "levels": levels,
                "files": len(own),
                "nominal": unit * sum(row.nominal_bits for row in own),
                "entropy": unit * sum(coded),
                "written": unit * sum(row.written_bits for row in own),
                "figures": {name: float(np.mean([row.figures[name] for row in own])) for name in own[0].figures},
            }
        )
    facts = {"model": fingerprint(codec).hex(), "priors": {k: p.fingerprint.hex() for k, p in codec.priors.items()}}
    return facts | {"unit": codec.medium.unit, "settings": settings, "definitions": definitions}


def judge(model: Path, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    codec = loaded(model)
    files = find_files([data], codec.medium.suffixes, options.limit)
    work = partial(measure, model, options.levels, options.threads)
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        done = list(pool.map(work, files))
    return summarize(codec, [row for rows, _ in done for row in rows], done[0][1])


def reached(settings: Sequence[Mapping[str, Any]], name: str, figure: float) -> str:
    """At which rate the curve through the settings has a figure, linearly between settings."""
    curve = [(s["figures"][name], s["written"]) for s in settings]
    sign = -1 if name in LESS_IS_BETTER else 1
    if sign * figure <= sign * curve[0][0]:
        return f"{curve[0][1]:.3g} or less"
    for (low, rate), (high, next_rate) in itertools.pairwise(curve):
        if sign * low < sign * figure <= sign * high:
            return f"{rate + (next_rate - rate) * (figure - low) / (high - low):.3g}"
    return f"not reached: {curve[-1][0]:.3g} at {curve[-1][1]:.3g}"


def tell(name: str, metrics: Mapping[str, Any], beside: Sequence[Mapping[str, Any]]) -> None:
    unit = metrics["unit"]
    for s in metrics["settings"]:
        figures = ", ".join(f"{k} {v:.3f}" for k, v in s["figures"].items())
        print(f"{name}, {s['levels']} levels, {s['files']} files: {s['written']:.3f} {unit} written; {figures}")
    for row in beside:
        for metric in [key for key in row if key not in ("codec", "written")]:
            at = reached(metrics["settings"], metric, row[metric])
            print(f"  {row['codec']} at {row['written']:g} {unit} has {metric} {row[metric]:g}; {name} has it at {at}")


def write_card(folder: Path, metrics: dict[str, Any], about: Mapping[str, Any]) -> None:
    codec = loaded(folder)
    identity = fingerprint(codec).hex()
    if identity != metrics["model"]:
        raise SystemExit(f"{folder} is model {identity}, the results are of {metrics['model']}: measure it again")
    (folder / METRICS).write_text(json.dumps(metrics, indent=1) + "\n")
    (folder / CARD).write_text(card(codec, identity, metrics, Origin(folder.name, **about)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=SHIPPED, help="folder of the models speech and image")
    parser.add_argument("--speech", type=Path, default=SAMPLES / "speech" / "test")
    parser.add_argument("--image", type=Path, default=SAMPLES / "image" / "test")
    parser.add_argument("--results", type=Path, help="JSON file of the results")
    parser.add_argument("--levels", type=int, nargs="+", help="default: those that each model is meant for")
    parser.add_argument("--limit", type=int, help="at most so many files of each")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cards", action="store_true", help="write the cards")
    options = parser.parse_args()
    about = yaml.safe_load(ABOUT.read_text())
    results = json.loads(options.results.read_text()) if options.results and options.results.is_file() else {}
    for name, data in (("speech", options.speech), ("image", options.image)):
        folder = options.models / name
        if not (folder / WEIGHTS).is_file():
            print(f"{name}: no model in {folder}")
            continue
        if name not in results or results[name]["model"] != fingerprint(loaded(folder)).hex():
            results[name] = judge(folder, data, options)
            if options.results:
                options.results.write_text(json.dumps(results, indent=1) + "\n")
        tell(name, results[name], about[name]["beside"])
        if options.cards:
            write_card(folder, results[name], about[name])


if __name__ == "__main__":
    main()
