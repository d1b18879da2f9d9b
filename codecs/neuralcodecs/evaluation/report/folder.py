"""What a folder of results holds, read with doubt: it may come from somebody else."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuralcodecs.errors import CodecError

LARGEST = 2**28
"""Bytes of a text file of results, at most."""


@dataclass(frozen=True)
class Point:
    """A codec at one setting. Rates in the unit of the results, None where the codec has no such count."""

    setting: str
    order: float
    files: int
    failed: int
    written: float
    nominal: float | None
    entropy: float | None
    figures: dict[str, float]
    encode_speed: float | None
    decode_speed: float | None
    usage: tuple[float, ...]
    perplexity: tuple[float, ...]


@dataclass(frozen=True)
class Contender:
    """A codec with its points from the lowest rate to the highest; ``macs`` per second of sound or per pixel."""

    name: str
    kind: str
    parameters: float | None
    macs: float | None
    fingerprint: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Take:
    """One file as one codec decoded it at one setting. ``output``: the decoding, if it was kept."""

    codec: str
    setting: str
    order: float
    file: str
    group: str
    bitrate: float
    output: Path | None


@dataclass(frozen=True)
class Results:
    """A folder of results. ``better``: +1 where higher figures are better, -1 where lower ones are, 0 if untold."""

    folder: Path
    unit: str
    speed_unit: str
    contenders: tuple[Contender, ...]
    takes: tuple[Take, ...]
    failures: tuple[str, ...]
    protocol: dict[str, Any]
    better: dict[str, int]

    @property
    def metrics(self) -> list[str]:
        points = [point for contender in self.contenders for point in contender.points]
        return list(dict.fromkeys(name for point in points for name in sorted(point.figures)))

    def original(self, file: str) -> Path | None:
        """Where the original of ``file`` was kept, under its own name or one with the suffix of the kept format."""
        for name in (file, f"{file}.wav", f"{file}.png"):
            found = inside(self.folder, f"original/{name}")
            if found is not None:
                return found
        return None


@dataclass(frozen=True)
class Run:
    """The figures of a run's checkpoints: metric -> number of levels -> (step, value)."""

    name: str
    curves: dict[str, dict[str, list[tuple[float, float]]]]


def read_results(folder: Path) -> Results:
    """The results in ``folder``; CodecError naming the file that is missing or damaged."""
    summary = _object(folder / "summary.json")
    protocol = _object(folder / "protocol.json")
    lines = [_parsed(text, folder / "results.jsonl") for text in _text(folder / "results.jsonl").splitlines()]
    whole = [line for line in lines if line is not None]
    try:
        contenders = tuple(_contender(name, facts) for name, facts in summary["codecs"].items())
        unit = str(summary.get("unit") or next((line["unit"] for line in whole), ""))
        takes = tuple(_take(folder, unit, line) for line in whole if not line.get("error"))
        better = summary.get("higher_is_better") or protocol.get("higher_is_better") or {}
        signs = {str(name): 1 if higher else -1 for name, higher in better.items()}
        failures = _failures(summary, whole)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CodecError(f"{folder}: results are damaged ({error!r:.80}): run neuralcodecs evaluate again") from error
    contenders = tuple(contender for contender in contenders if contender.points)
    if not contenders:
        raise CodecError(f"{folder}: no codec has a figure, nothing to report: see the errors in results.jsonl")
    speed = str(summary.get("speed_unit") or ("x real time" if unit == "kbit/s" else "Mpixel/s"))
    return Results(folder, unit, speed, contenders, takes, failures, protocol, signs)


def read_run(folder: Path) -> Run:
    """The metrics.csv that EvaluateCheckpoints wrote in the folder of a run or in its ``checkpoints``; CodecError."""
    path = next((p for p in (folder / "checkpoints" / "metrics.csv", folder / "metrics.csv") if p.is_file()), None)
    if path is None:
        raise CodecError(
            f"{folder}: no metrics.csv of checkpoints here: name a run that EvaluateCheckpoints has judged"
        )
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in csv.DictReader(_text(path).splitlines()):
        step = _float(row.get("step"))
        for name, cell in row.items():
            value = _float(cell)
            if name in ("step", "levels") or step is None or value is None:
                continue
            label = f"{row.get('levels') or '?'} levels"
            curves.setdefault(str(name), {}).setdefault(label, []).append((step, value))
    if not curves:
        raise CodecError(f"{path}: no step has a figure: let the run reach its first checkpoint")
    return Run(folder.name or str(folder), {name: {k: sorted(v) for k, v in of.items()} for name, of in curves.items()})


def inside(folder: Path, name: str) -> Path | None:
    """The file ``name`` of ``folder``; None for one that is missing or elsewhere (results can name any path)."""
    path = (folder / name).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def _contender(name: str, facts: dict[str, Any]) -> Contender:
    points = [_point(setting) for setting in facts["settings"] if setting.get("figures") is not None]
    return Contender(
        name=str(name),
        kind=str(facts.get("kind", "")),
        parameters=_float(facts.get("parameters")),
        macs=_float(facts.get("macs")),
        fingerprint=str(facts.get("fingerprint") or ""),
        points=tuple(sorted((p for p in points if p is not None), key=lambda point: point.order)),
    )


def _point(facts: dict[str, Any]) -> Point | None:
    written = _float(facts.get("rate_written"))
    if written is None or written <= 0:  # nothing was decoded at this setting
        return None
    figures = {str(name): _float(value) for name, value in facts["figures"].items()}
    return Point(
        setting=str(facts["setting"]),
        order=_float(facts.get("order")) or 0.0,
        files=int(facts["files"]),
        failed=int(facts.get("failed") or 0),
        written=written,
        nominal=_float(facts.get("rate_nominal")),
        entropy=_float(facts.get("rate_entropy")),
        figures={name: value for name, value in figures.items() if value is not None},
        encode_speed=_float(facts.get("encode_speed")),
        decode_speed=_float(facts.get("decode_speed")),
        usage=_floats(facts.get("usage")),
        perplexity=_floats(facts.get("perplexity")),
    )


def _take(folder: Path, unit: str, line: dict[str, Any]) -> Take:
    bits = float(line["written_bits"]) / (1000 if unit == "kbit/s" else 1)
    output = line.get("output")
    return Take(
        codec=str(line["codec"]),
        setting=str(line["setting"]),
        order=_float(line.get("order")) or 0.0,
        file=str(line["file"]),
        group=str(line.get("group") or ""),
        bitrate=bits / float(line["extent"]),
        output=inside(folder, str(output)) if output else None,
    )


def _failures(summary: dict[str, Any], lines: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """A sentence per reason, with how often it occurred."""
    counts: dict[str, int] = {}
    for line in lines:
        where = f"{line['codec']}, {line['setting']}"
        reasons = [f"{where}: {line['error']}"] if line.get("error") else []
        reasons += [f"{where}: {name}: {reason}" for name, reason in (line.get("failures") or {}).items()]
        for reason in reasons:
            counts[reason] = counts.get(reason, 0) + 1
    told = [f"{reason} ({count} file{'s' if count > 1 else ''})" for reason, count in counts.items()]
    told += [f"not read: {name}: {reason}" for name, reason in (summary.get("unreadable") or {}).items()]
    return tuple(told + [f"not measured: {name}: {reason}" for name, reason in (summary.get("absent") or {}).items()])


def _object(path: Path) -> dict[str, Any]:
    found = _parsed(_text(path), path)
    if found is None:
        raise CodecError(f"{path}: empty or torn: run neuralcodecs evaluate again")
    return found


def _parsed(text: str, path: Path) -> dict[str, Any] | None:
    """A JSON object; None for a line that a kill has torn."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        raise CodecError(f"{path}: {text[:40]!r} is no JSON object: name a folder that neuralcodecs evaluate wrote")
    return found


def _text(path: Path) -> str:
    if not path.is_file():
        raise CodecError(f"no {path}: name a folder that neuralcodecs evaluate wrote")
    if path.stat().st_size > LARGEST:
        raise CodecError(f"{path}: more than {LARGEST >> 20} MiB: evaluate fewer files")
    return path.read_text(encoding="utf-8", errors="replace")


def _float(value: object) -> float | None:
    """A finite number, else None: JSON and CSV from outside may hold anything."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _floats(values: object) -> tuple[float, ...]:
    numbers = [_float(value) for value in values] if isinstance(values, list) else []
    return tuple(number for number in numbers if number is not None)
