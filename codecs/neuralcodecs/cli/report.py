"""The command ``report``: its options and what it does."""

import argparse
from pathlib import Path

EXAMPLE = "report results --run runs/a --out report.html"
SUMMARY = "results as one HTML file to look at and listen to"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="what neuralcodecs evaluate wrote")
    parser.add_argument(
        "--run",
        dest="runs",
        metavar="RUN",
        type=Path,
        nargs="+",
        default=[],
        help="folders of runs: figures over their checkpoints",
    )
    parser.add_argument("--out", type=Path, help="the HTML file; default: report.html in the folder of results")
    parser.add_argument("--files", type=int, default=6, help="files to listen to or look at, at most (default 6)")
    parser.add_argument("--megabytes", type=float, default=32, help="that these take, at most (default 32)")


def run_report(options: argparse.Namespace) -> int:
    from neuralcodecs.errors import CodecError
    from neuralcodecs.evaluation.report.folder import read_results, read_run
    from neuralcodecs.evaluation.report.page import write_report

    if options.files < 0 or not 0 <= options.megabytes <= 1000:
        raise CodecError(f"--files {options.files}, --megabytes {options.megabytes}: give 0 or more, at most 1000 MB")
    results = read_results(options.folder)
    runs = [read_run(folder) for folder in options.runs]
    target = options.out or options.folder / "report.html"
    page, *curves = write_report(results, runs, target, options.files, round(1e6 * options.megabytes))
    print(f"{page}  {page.stat().st_size / 1e6:.1f} MB; {len(curves)} curves in {curves[0].parent if curves else '-'}")
    return 0
