"""What was measured before: results of judgements, and the evaluations beside the checkpoints of a run."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuralcodecs.checkpoints import FOLDER, verifies
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.protocol import PROTOCOL, conflicts, remarks
from neuralcodecs.evaluation.store import RESULTS, Line, read_lines

METRICS = ".metrics.json"
NEAR = 0.1
"""Rates within this share of each other are taken for one."""
KILO = {"kbps": 1.0, "kbit/s": 1.0, "bpp": 1.0, "bit/pixel": 1.0, "bps": 1e-3, "bit/s": 1e-3}
SOUND_UNITS = ("kbps", "kbit/s", "bps", "bit/s")


@dataclass(frozen=True)
class Judged:
    """Lines of one codec, and how they were made."""

    name: str
    lines: tuple[Line, ...]
    protocol: dict[str, Any]


def open_run(text: str) -> Judged:
    """``FOLDER`` or ``FOLDER:CODEC`` of a judgement, or the folder of a run or its newest ``metrics.json``.

    Raises CodecError where there is nothing, and where a folder holds several codecs and none is named.
    """
    folder, codec = (Path(text), "") if Path(text).exists() else _split(text)
    if (folder / RESULTS).is_file() and (folder / PROTOCOL).is_file():
        lines = [x for x in read_lines(folder / RESULTS).values() if x.error is None]
        names = list(dict.fromkeys(line.codec for line in lines))
        if not codec and len(names) > 1:
            raise CodecError(f"{folder} has results of {', '.join(names)}: name one, such as {folder}:{names[0]}")
        mine = tuple(line for line in lines if line.codec == (codec or line.codec))
        if not mine:
            raise CodecError(f"{folder} has no results of {codec}: it has {', '.join(names) or 'none'}")
        return Judged(codec or names[0], mine, json.loads((folder / PROTOCOL).read_text()))
    for path in (folder, folder / "metrics.json", folder / FOLDER / "metrics.json"):
        if path.is_file():
            return _of_checkpoint(path)
    raise CodecError(f"no results in {folder}: give the folder of an evaluation, or of a run that was evaluated")


@dataclass(frozen=True)
class Best:
    """The checkpoint, its figure, at which rate; ``remarks``: what makes the choice doubtful."""

    checkpoint: Path
    value: float
    rate: float
    unit: str
    remarks: list[str] = field(default_factory=list)


def best(run: Path, metric: str, at: str | None = None) -> Best:
    """The checkpoint of ``run`` with the best ``metric`` at a rate (``6kbps``, ``0.25bpp``, ``8levels``).

    Ties go to the earlier one. Without ``at`` each checkpoint's highest rate is taken. Raises CodecError where no
    checkpoint has such figures.
    """
    evaluations = _evaluations(run)
    found: list[tuple[float, int, Best]] = []
    protocols: list[dict[str, Any]] = []
    for checkpoint, evaluation in evaluations:
        setting = _setting(evaluation, at, checkpoint)
        if metric not in setting["figures"]:
            continue
        value = setting["figures"][metric]
        sign = 1 if evaluation["protocol"]["higher_is_better"][metric] else -1
        told = Best(checkpoint, value, setting["nominal"], evaluation["unit"])
        found.append((sign * value, -int(evaluation.get("step", 0)), told))
        protocols.append(evaluation["protocol"])
    if not found:
        known = sorted({name for _, e in evaluations for s in e["settings"] for name in s["figures"]})
        raise CodecError(f"{run}: no checkpoint has {metric}: it was measured {', '.join(known)}")
    winner = max(found, key=lambda entry: entry[:2])[2]
    return Best(winner.checkpoint, winner.value, winner.rate, winner.unit, _doubts(protocols, metric))


def _doubts(protocols: Sequence[dict[str, Any]], metric: str) -> list[str]:
    definitions = {p["metrics"].get(metric) for p in protocols}
    found = []
    if len(definitions) > 1:
        found.append(f"{metric} is defined otherwise among these checkpoints: compare with care")
    if len({p["data"]["sha256"] for p in protocols}) > 1:
        found.append("these checkpoints were judged on different files: compare with care")
    return found


def disagreements(a: Judged, b: Judged, anyway: bool) -> list[str]:
    """What a comparison must say first; CodecError for what forbids it, unless ``anyway``."""
    found = conflicts(a.protocol, b.protocol)
    if found and not anyway:
        raise CodecError(f"the protocols differ ({found[0]}): evaluate both anew, or add --anyway")
    return found + remarks(a.protocol, b.protocol)


def _split(text: str) -> tuple[Path, str]:
    folder, _, codec = text.rpartition(":")
    return (Path(folder), codec) if folder else (Path(text), "")


def _of_checkpoint(path: Path) -> Judged:
    facts = _read(path)
    unit = {"bit/pixel": "bpp"}.get(facts["unit"], facts["unit"])
    name = str(facts.get("checkpoint") or facts.get("model") or path.parent.name)
    known = facts["protocol"]["data"]["files"]
    lines = []
    for row in facts["rows"]:
        file = next((n for n in known if n == row["file"] or row["file"].endswith(f"/{n}")), row["file"])
        count = row["levels"]
        same = ("extent", "nominal_bits", "written_bits", "encode_seconds", "decode_seconds", "figures", "failures")
        taken = {key: row[key] for key in same}
        label = f"{count} level{'s' if count > 1 else ''}"
        group = Path(file).parent.name
        entropy = row.get("entropy_bits")
        lines.append(
            Line(name, "model", label, float(count), count, file, group, unit=unit, entropy_bits=entropy, **taken)
        )
    return Judged(name, tuple(lines), facts["protocol"])


def _evaluations(run: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Whole checkpoints and their evaluations."""
    folder = run / FOLDER if (run / FOLDER).is_dir() else run
    paths = sorted(folder.glob(f"*{METRICS}"))
    pairs = [(path.with_name(path.name.removesuffix(METRICS) + ".ckpt"), path) for path in paths]
    whole = [(checkpoint, _read(path)) for checkpoint, path in pairs if checkpoint.is_file() and verifies(checkpoint)]
    if not whole:
        raise CodecError(f"{run} has no evaluated checkpoint: train with EvaluateCheckpoints")
    return whole


def _read(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text())
    except ValueError as error:
        raise CodecError(f"{path} is no evaluation ({error}): evaluate again") from error
    if not isinstance(facts, dict) or "protocol" not in facts:
        raise CodecError(f"{path} does not say how it was made: evaluate again with this version")
    return facts


def _setting(evaluation: Mapping[str, Any], at: str | None, checkpoint: Path) -> dict[str, Any]:
    settings = evaluation["settings"]
    if at is None:
        return max(settings, key=lambda s: s["nominal"])
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*_?([a-z/]*)", at.strip().lower())
    unit = evaluation["unit"]
    if match is None or match[2] not in ("", "level", "levels", *KILO):
        raise CodecError(f"--at {at}: give a rate such as 6kbps or 0.25bpp, or a number of levels such as 8levels")
    if match[2].startswith("level"):
        near = [s for s in settings if s["levels"] == float(match[1])]
    else:
        if match[2] and (match[2] in SOUND_UNITS) != (unit == "kbit/s"):
            raise CodecError(f"--at {at}: the rates of {checkpoint} are in {unit}")
        wanted = float(match[1]) * KILO.get(match[2], 1.0)
        near = sorted(settings, key=lambda s: abs(math.log(s["nominal"] / max(wanted, 1e-12))))[:1]
        near = [s for s in near if abs(s["nominal"] - wanted) <= NEAR * wanted]
    if not near:
        known = ", ".join(f"{s['nominal']:.4g} {unit} ({s['levels']} levels)" for s in settings)
        raise CodecError(f"--at {at}: {checkpoint} was judged at {known}")
    return near[0]
