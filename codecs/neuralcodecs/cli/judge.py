"""Commands that judge: ``evaluate``, ``compare``, ``best``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralcodecs.errors import CodecError

if TYPE_CHECKING:  # torch takes seconds, and --help does without it
    from neuralcodecs.codec import Codec
    from neuralcodecs.criteria import Metric
    from neuralcodecs.evaluation.run import Judgement
    from neuralcodecs.evaluation.store import Line
    from neuralcodecs.medium import Medium

ALL = "all"


def run_evaluate(options: argparse.Namespace) -> int:
    from neuralcodecs.evaluation.candidate import Candidate, ModelCandidate
    from neuralcodecs.evaluation.classical import classical, judges_medium, names_of
    from neuralcodecs.evaluation.measure import find_files
    from neuralcodecs.evaluation.run import Judgement, named_files
    from neuralcodecs.evaluation.summary import summarize, write_summary

    codecs = _models(options)
    against = names_of(options.against)
    medium = judges_medium([c.medium for c in codecs.values()], against, options.data, options.rate)
    weights = {name: Path(path) for name, _, path in (pair.partition("=") for pair in options.weights)}
    metrics, absent = _metrics(medium, weights, options.metrics)
    rivals, missing = classical(against, medium)
    levels = tuple(options.levels or ())
    candidates: list[Candidate] = [ModelCandidate(name, codec, medium, levels) for name, codec in codecs.items()]
    candidates += rivals
    if not candidates:
        raise CodecError(f"nothing to evaluate: {next(iter(missing.values()))}")
    files = named_files(options.data, find_files(options.data, medium.suffixes, options.limit))
    judgement = Judgement(candidates, medium, files, metrics, options.out, absent | missing, options.keep)
    lines, unreadable = judgement.run(progress=sys.stderr.isatty())
    if not lines:
        raise CodecError(f"nothing could be evaluated: {next(iter(unreadable.values()))}")
    summary = summarize(judgement, lines, unreadable)
    if options.anchor:
        from neuralcodecs.evaluation.bd_rate import bd_rates

        summary["bd_rate"] = bd_rates(summary, options.anchor)
    write_summary(summary, options.out)
    _show(options, codecs, list(files.values()))
    _tell(options, judgement, summary, lines)
    _tell_ways(options, codecs, list(files.values()), metrics)
    return 0


def run_compare(options: argparse.Namespace) -> int:
    from neuralcodecs.evaluation.history import open_run
    from neuralcodecs.evaluation.paired import compare, table

    runs = [open_run(text) for text in (options.run_a, options.run_b)]
    print("\n".join(table(compare(runs[0], runs[1], options.metric, options.anyway))))
    return 0


def run_best(options: argparse.Namespace) -> int:
    from neuralcodecs.evaluation.history import best

    found = best(options.folder, options.metric, options.at)
    print("\n".join(found.remarks), file=sys.stderr, end="\n" if found.remarks else "")
    print(f"{found.checkpoint}  {options.metric} {found.value:.4f} at {found.rate:.4g} {found.unit}")
    return 0


def _models(options: argparse.Namespace) -> dict[str, Codec]:
    """The models by the names that are shown: as short as they can be told apart."""
    from neuralcodecs.cli.load import default_of, load_model

    if not options.model and not options.against:
        options.model = [default_of(options.data)]
    short = [_shown(model) for model in options.model]
    names = [name if short.count(name) == 1 else model for name, model in zip(short, options.model, strict=True)]
    if len(set(names)) < len(names):
        raise CodecError("a MODEL is named twice: name each once")
    return {name: load_model(model, options).codec for name, model in zip(names, options.model, strict=True)}


def _shown(model: str) -> str:
    path = Path(model)
    run = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    return f"{run.name}/{path.stem}".lstrip("/") if path.suffix == ".ckpt" else path.name or model


def _metrics(
    medium: Medium, weights: dict[str, Path], wanted: Sequence[str] | None
) -> tuple[list[Metric], dict[str, str]]:
    """The medium's usual metrics; with names those named, and with ``all`` also the slower ones."""
    usual = medium.metrics(weights)
    if not wanted:
        return usual, {}
    further, absent = medium.further_metrics()
    every = [*usual, *further]
    if ALL in wanted:
        return every, absent
    known = [*(name for metric in every for name in metric.names), *absent]
    for name in wanted:
        if name not in known:
            raise CodecError(f"--metrics {name}: no such metric here: give all, or some of {', '.join(known)}")
    chosen = [metric for metric in every if set(metric.names) & set(wanted)]
    return chosen, {name: reason for name, reason in absent.items() if name in wanted}


def _tell_ways(options: argparse.Namespace, codecs: dict[str, Codec], files: list[Path], metrics: list[Metric]) -> None:
    """What generative decoders give at several numbers of steps and with several seeds, into ``generative.json``."""
    from neuralcodecs.evaluation.generative import SEEDS, STEPS, evaluate_ways, plain, table_of_ways

    steps, seeds, found = options.steps or STEPS, options.seeds or SEEDS, {}
    for name, codec in codecs.items():
        if codec.decoder.sampling is not None:
            levels = max(options.levels or codec.quantizer.levels)
            ways = evaluate_ways(codec, files, metrics, steps, seeds, levels)
            found[name] = plain(ways)
            print(f"\n{name} by numbers of steps, at {levels} levels\n{table_of_ways(ways, codec.medium.speed_unit)}")
    if found:
        (options.out / "generative.json").write_text(json.dumps(found, indent=1) + "\n")


def _tell(options: argparse.Namespace, judgement: Judgement, summary: dict[str, Any], lines: list[Line]) -> None:
    """Print the tables; for a single model also write what a checkpoint's evaluation writes."""
    from neuralcodecs.evaluation.figures_text import bd_lines, failures_of, lines_of
    from neuralcodecs.evaluation.results import append_csv, codebooks, table, write_json
    from neuralcodecs.evaluation.summary import as_evaluation

    evaluations = {
        c.name: as_evaluation(judgement, c, summary, lines) for c in judgement.candidates if c.points[0].levels
    }
    if len(judgement.candidates) == len(evaluations) == 1:
        (evaluation,) = evaluations.values()
        write_json(evaluation, options.out / "metrics.json", model=options.model[0], protocol=judgement.protocol())
        append_csv(evaluation, options.out / "metrics.csv", model=options.model[0])
        print(table(evaluation))
    else:
        print("\n".join([*lines_of(summary), *failures_of(lines)]))
        for name, evaluation in evaluations.items():
            print("\n".join([f"{name}:", *codebooks(evaluation.settings[-1])]))
    print("\n".join(bd_lines(summary)), end="\n" if "bd_rate" in summary else "")


def _show(options: argparse.Namespace, codecs: dict[str, Codec], files: list[Path]) -> None:
    """The comparison picture of the first model."""
    from neuralcodecs.evaluation.examples import PICTURE, comparison, decode_examples, write_picture

    for codec in list(codecs.values())[:1]:
        examples = decode_examples(codec, files[: options.examples], options.levels)
        if examples:
            write_picture(comparison(codec, examples), options.out / PICTURE)
