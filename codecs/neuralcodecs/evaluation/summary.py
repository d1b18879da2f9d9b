"""Means of a judgement per codec and setting: what tables, curves and the report show."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuralcodecs.atomic import atomic
from neuralcodecs.criteria import Metric, MetricFailure
from neuralcodecs.evaluation.candidate import Candidate, Point
from neuralcodecs.evaluation.figures import Evaluation, Row, Setting
from neuralcodecs.evaluation.measure import entropy_of
from neuralcodecs.evaluation.run import Judgement
from neuralcodecs.evaluation.store import Line
from neuralcodecs.medium import Medium

SUMMARY = "summary.json"


def summarize(judgement: Judgement, lines: Sequence[Line], unreadable: Mapping[str, str]) -> dict[str, Any]:
    """Everything but the lines themselves; plain data."""
    codecs = {c.name: _codec(judgement, c, [x for x in lines if x.codec == c.name]) for c in judgement.candidates}
    unit = next((line.unit for line in lines), judgement.medium.unit)
    return {
        "unit": unit,
        "speed_unit": judgement.medium.speed_unit,
        "rate": judgement.medium.rate,
        "files": len(judgement.files),
        "unreadable": dict(unreadable),
        "absent": dict(judgement.absent),
        "definitions": {name: m.definition for m in judgement.metrics for name in m.names},
        "higher_is_better": {name: m.higher_is_better for m in judgement.metrics for name in m.names},
        "codecs": codecs,
    }


def write_summary(summary: Mapping[str, Any], out: Path) -> None:
    """``summary.json``; codecs of earlier judgements in ``out`` that are not in this one stay."""
    path = out / SUMMARY
    old = json.loads(path.read_text()) if path.exists() else {"codecs": {}, "definitions": {}, "higher_is_better": {}}
    parts = ("codecs", "definitions", "higher_is_better")
    joined = dict(summary) | {part: {**old[part], **summary[part]} for part in parts}
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(joined, indent=1) + "\n")


def as_evaluation(
    judgement: Judgement, candidate: Candidate, summary: Mapping[str, Any], lines: Sequence[Line]
) -> Evaluation:
    """A model's part of a judgement in the form that the evaluation of a checkpoint has."""
    own = [line for line in lines if line.codec == candidate.name and line.error is None]
    facts = [s for s in summary["codecs"][candidate.name]["settings"] if s["files"]]
    failures = {name: reason for s in facts for name, reason in s["reasons"].items()}
    evaluation = Evaluation(
        judgement.medium.unit,
        judgement.medium.speed_unit,
        [_as_setting(s) for s in facts],
        [_as_row(judgement, line) for line in own],
        {str(judgement.files[name]): reason for name, reason in summary["unreadable"].items()},
        failures,
        dict(summary["definitions"]),
    )
    evaluation.complexity = candidate.cost(own[0].shape) if own else None
    return evaluation


def _as_setting(s: Mapping[str, Any]) -> Setting:
    same = ("files", "figures", "failures", "usage", "perplexity", "entropy_bits", "encode_speed", "decode_speed")
    rates = {kind: s[f"rate_{kind}"] for kind in ("nominal", "entropy", "written")}
    return Setting(levels=s["levels"], **rates, **{name: s[name] for name in same})


def _as_row(judgement: Judgement, line: Line) -> Row:
    same = ("shape", "extent", "written_bits", "encode_seconds", "decode_seconds", "figures", "failures")
    return Row(
        file=str(judgement.files[line.file]),
        levels=line.levels or 0,
        nominal_bits=line.nominal_bits or 0.0,
        **{name: getattr(line, name) for name in same},
    )


def _codec(judgement: Judgement, candidate: Candidate, lines: list[Line]) -> dict[str, Any]:
    whole = [line for line in lines if line.error is None]
    cost = candidate.cost(whole[0].shape) if whole else None
    return {
        "kind": candidate.kind,
        "identity": candidate.identity,
        "fingerprint": candidate.identity if candidate.kind == "model" else None,
        "parameters": cost and cost.encoder_parameters + cost.decoder_parameters + cost.quantizer_parameters,
        "macs": cost and cost.encoder_macs + cost.decoder_macs,
        "encoder_macs": cost and cost.encoder_macs,
        "decoder_macs": cost and cost.decoder_macs,
        "settings": [
            _setting(judgement, candidate, point, [x for x in lines if x.setting == point.name])
            for point in sorted(candidate.points, key=lambda point: point.order)
        ],
    }


def _setting(judgement: Judgement, candidate: Candidate, point: Point, lines: list[Line]) -> dict[str, Any]:
    whole = [line for line in lines if line.error is None]
    facts = {"setting": point.name, "order": point.order, "levels": point.levels}
    facts |= {"files": len(whole), "failed": len(lines) - len(whole)}
    if not whole:
        return facts | {"errors": sorted({line.error for line in lines if line.error})}
    medium, extent = judgement.medium, sum(line.extent for line in whole)
    figures, failures = means(whole, [name for metric in judgement.metrics for name in metric.names])
    together, reasons = _over_files(judgement, candidate, point, whole)
    histograms = candidate.histograms([judgement.coded(candidate, point, line.file) for line in whole], point)
    entropies = [entropy_of(histogram) for histogram in histograms]
    nominal = [line.nominal_bits for line in whole if line.nominal_bits is not None]
    coded = [int(histogram.sum()) for histogram in histograms]
    saved = sum(
        n * (np.log2(len(h)) - bits) for n, h, bits in zip(coded, histograms, entropies, strict=True)
    )  # side streams keep their nominal bits
    return facts | {
        "rate_written": _rate(medium, whole, [line.written_bits for line in whole]),
        "rate_nominal": _rate(medium, whole, nominal) if nominal else None,
        "rate_entropy": _rate(medium, whole, [sum(nominal) - float(saved)]) if nominal else None,
        "figures": figures | together,
        "failures": failures | dict.fromkeys(reasons, len(whole)),
        "reasons": reasons,
        "encode_speed": medium.speed(extent, sum(line.encode_seconds for line in whole)),
        "decode_speed": medium.speed(extent, sum(line.decode_seconds for line in whole)),
        "usage": [float((histogram > 0).mean()) for histogram in histograms],
        "perplexity": [float(2**bits) for bits in entropies],
        "entropy_bits": entropies,
    }


def means(lines: Sequence[Line], names: Sequence[str]) -> tuple[dict[str, float], dict[str, int]]:
    """Mean of each figure over the lines that have it, and on how many it failed."""
    values = {name: [line.figures[name] for line in lines if name in line.figures] for name in names}
    failed = {name: sum(name in line.failures for line in lines) for name in names}
    return {n: float(np.mean(v)) for n, v in values.items() if v}, {n: count for n, count in failed.items() if count}


def _rate(medium: Medium, lines: Sequence[Line], bits: Sequence[float]) -> float:
    """Total bits over total extent, in the medium's unit."""
    unit = medium.bitrate(1.0, lines[0].shape) * lines[0].extent
    return sum(bits) * unit / sum(line.extent for line in lines)


def _over_files(
    judgement: Judgement, candidate: Candidate, point: Point, lines: Sequence[Line]
) -> tuple[dict[str, float], dict[str, str]]:
    """Figures of all files together: of the coded files, which are decoded again."""
    gathering: list[Metric] = [metric.fresh() for metric in judgement.metrics if metric.fresh() is not metric]
    figures: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for line in lines if gathering else ():
        reference, _ = judgement.medium.read(judgement.files[line.file])
        decoded = candidate.decode(judgement.coded(candidate, point, line.file), reference)
        for metric in gathering:
            metric(decoded.signal, reference, judgement.medium.rate)
    for metric in gathering:
        try:
            figures |= metric.over_files()
        except MetricFailure as error:
            reasons |= dict.fromkeys(metric.names, str(error))
    return figures, reasons
