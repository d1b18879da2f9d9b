"""An evaluation as files and as a table: metrics.json (all of it), metrics.csv (a line per setting), text."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

from neuralcodecs.atomic import atomic
from neuralcodecs.evaluation.figures import Evaluation, Setting

MOST_CODEBOOKS = 32
"""A table of more is not told line by line; metrics.json has them all."""


def write_json(evaluation: Evaluation, path: Path, **facts: Any) -> None:
    """Everything that was measured; ``facts`` (checkpoint, step ...) come first."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(facts | dataclasses.asdict(evaluation), indent=1) + "\n")


def append_csv(evaluation: Evaluation, path: Path, **facts: Any) -> None:
    """A line per setting, after the lines that are there; columns that a new metric brings are added to all."""
    rows = list(csv.DictReader(path.open(newline=""))) if path.exists() else []
    rows += [facts | summary(setting) for setting in evaluation.settings]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def summary(setting: Setting) -> dict[str, Any]:
    """The figures of one setting, flat."""
    return {
        "levels": setting.levels,
        "nominal": setting.nominal,
        "entropy": setting.entropy,
        "written": setting.written,
        **setting.figures,
        **{f"failed_{name}": count for name, count in setting.failures.items()},
        "usage": sum(setting.usage) / len(setting.usage),
        "encode_speed": setting.encode_speed,
        "decode_speed": setting.decode_speed,
    }


def table(evaluation: Evaluation) -> str:
    """A line per setting, and one per codebook of the last setting where it has several."""
    names = list(dict.fromkeys(name for s in evaluation.settings for name in (*s.figures, *s.failures)))
    header = ["levels", *(f"{kind} {evaluation.unit}" for kind in ("nominal", "entropy", "written")), *names]
    lines = [[*header, "usage %", *(f"{way} {evaluation.speed_unit}" for way in ("encode", "decode"))]]
    for s in evaluation.settings:
        figures = [_figure(s, name) for name in names]
        usage = f"{100 * sum(s.usage) / len(s.usage):.0f}"
        rates = [f"{rate:.3f}" for rate in (s.nominal, s.entropy, s.written)]
        lines.append([str(s.levels), *rates, *figures, usage, f"{s.encode_speed:.3g}", f"{s.decode_speed:.3g}"])
    return "\n".join([*_aligned(lines), *codebooks(evaluation.settings[-1]), *notes(evaluation)])


def codebooks(setting: Setting) -> list[str]:
    """Usage, perplexity and entropy of each codebook, as lines; none for a single one or a hyperprior's many."""
    if not 1 < len(setting.usage) <= MOST_CODEBOOKS:
        return []
    figures = zip(setting.usage, setting.perplexity, setting.entropy_bits, strict=True)
    lines = [["codebook", "usage %", "perplexity", "entropy bits"]]
    lines += [[str(n), f"{100 * u:.1f}", f"{p:.1f}", f"{h:.3f}"] for n, (u, p, h) in enumerate(figures)]
    return [f"codebooks at {setting.levels} levels", *_aligned(lines)]


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]


def costs(evaluation: Evaluation) -> list[str]:
    """Parameters and arithmetic of the codec's parts, a line each."""
    cost = evaluation.complexity
    if cost is None:
        return []
    unit = evaluation.unit.partition("/")[2]
    return [
        f"encoder: {cost.encoder_parameters / 1e6:,.3f} M parameters, {cost.encoder_macs / 1e3:,.0f} kMAC/{unit}",
        f"decoder: {cost.decoder_parameters / 1e6:,.3f} M parameters, {cost.decoder_macs / 1e3:,.0f} kMAC/{unit}",
        f"quantizer: {cost.quantizer_parameters / 1e6:,.3f} M parameters",
    ]


def notes(evaluation: Evaluation) -> list[str]:
    """What the figures mean, and what could not be measured."""
    lines = [f"{evaluation.settings[0].files} files", *costs(evaluation)]
    lines += [f"{name}: {definition}" for name, definition in evaluation.definitions.items()]
    for path, reason in evaluation.unreadable.items():
        lines.append(f"not read: {path}: {reason}")
    reasons = {(name, reason) for row in evaluation.rows for name, reason in row.failures.items()}
    reasons |= set(evaluation.failures.items())
    return lines + [f"failed: {name}: {reason}" for name, reason in sorted(reasons)]


def _figure(setting: Setting, name: str) -> str:
    value = f"{setting.figures[name]:.3f}" if name in setting.figures else "-"
    return f"{value} ({setting.failures[name]} failed)" if name in setting.failures else value
