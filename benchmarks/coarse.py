"""LMCodec's mode by the commands: coarse levels are sent, the prior predicts the rest; beside plain levels.

Files are written with ``encode`` and read with ``decode``; rates are those of whole files, headers included. The model
needs an autoregressive learned prior. https://arxiv.org/abs/2303.12984

    python benchmarks/coarse.py --model runs/prior_quickstart/model --data samples/speech/test --coarse 1 2 4
"""

import argparse
import io
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import torch

from neuralcodecs.cli import main as command
from neuralcodecs.criteria import Metric, MetricFailure
from neuralcodecs.evaluation.measure import find_files
from neuralcodecs.files import SUFFIX
from neuralcodecs.medium import Medium
from neuralcodecs.pretrained import load


def settings(coarse: Sequence[int], levels: int, seed: int) -> dict[str, list[str]]:
    """Options of ``encode`` by the name of the row."""
    rows = {}
    for sent in coarse:
        options = ["--coarse", str(sent), "--levels", str(levels)]
        rows[f"{sent} levels"] = ["--levels", str(sent)]
        rows[f"{sent} of {levels}, the rest likeliest"] = options
        rows[f"{sent} of {levels}, the rest drawn"] = [*options, "--draw", str(seed)]
    return rows | {f"{levels} levels": ["--levels", str(levels)]}


def run(*words: object) -> None:
    with redirect_stdout(io.StringIO()):  # a line for each file
        status = command([str(word) for word in words])
    if status:
        raise SystemExit(f"neuralcodecs {words[0]} ended with status {status}")


def judge(
    medium: Medium, metrics: Sequence[Metric], files: Sequence[Path], coded: Path, decoded: Path
) -> dict[str, list[float]]:
    """Rate and metrics of each file; those that fail are left out."""
    columns: dict[str, list[float]] = defaultdict(list)
    for path in files:
        signal, _ = medium.read(path)
        ours, _ = medium.read(decoded / path.with_suffix(medium.suffixes[0]).name)
        size = (coded / path.with_suffix(SUFFIX).name).stat().st_size
        columns[medium.unit].append(medium.bitrate(8.0 * size, tuple(signal.shape[1:])))
        for metric in metrics:
            try:
                figures = metric(ours[:, : signal.shape[1]], signal[:, : ours.shape[1]], medium.rate)
            except MetricFailure:
                continue
            for name, value in figures.items():
                columns[name].append(value)
    return columns


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a codec with a learned prior")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--coarse", type=int, nargs="+", default=[1, 2, 4], help="levels that are sent")
    parser.add_argument("--levels", type=int, default=8, help="levels that are decoded")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help="these only")
    options = parser.parse_args()
    medium = load(options.model).medium
    metrics = [m for m in medium.metrics() if options.metrics is None or set(m.names) & set(options.metrics)]
    files = find_files(options.data, medium.suffixes, options.limit)
    which = ["-m", options.model, "--device", options.device]
    print(f"{len(files)} files", flush=True)
    for name, how in settings(options.coarse, options.levels, options.seed).items():
        with tempfile.TemporaryDirectory() as folder:
            coded, decoded = Path(folder) / "coded", Path(folder) / "decoded"
            run("encode", *files, *which, "-o", f"{coded}/", *how)
            run("decode", coded, *which, "-o", f"{decoded}/")
            columns = judge(medium, metrics, files, coded, decoded)
        figures = (f"{figure} {sum(v) / len(v):.3f}" for figure, v in columns.items())
        print(f"{name:28}", *figures, sep="  ", flush=True)


if __name__ == "__main__":
    main()
