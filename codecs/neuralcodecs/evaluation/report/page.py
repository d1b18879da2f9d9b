"""The report as one file: what the template is given, and the SVG files beside it."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from neuralcodecs.atomic import atomic
from neuralcodecs.evaluation.report import charts
from neuralcodecs.evaluation.report.folder import Contender, Point, Results, Run
from neuralcodecs.evaluation.report.media import LARGEST_GAIN, SECONDS, SIDE, exhibits

SCRIPTS = ("base", "table", "player", "blind", "pictures")
TEMPLATES = "neuralcodecs.evaluation.report"


@dataclass(frozen=True)
class Figure:
    """A chart with the name of its file."""

    name: str
    svg: Markup
    alone: Markup


@dataclass(frozen=True)
class Cell:
    """What a table shows, and what it sorts by; ``figure``: a number, or the dash for none."""

    text: str
    value: float | None
    figure: bool = True


def write_report(results: Results, runs: Sequence[Run], target: Path, count: int, budget: int) -> list[Path]:
    """Write ``target`` and the curves as SVG files in a folder beside it; returns all that was written.

    Args:
        results: of an evaluation.
        runs: figures over the checkpoints of runs.
        target: the HTML file.
        count: files that can be heard or seen, at most.
        budget: characters that their sounds and pictures take in the page, at most.
    """
    looks = {contender.name: i for i, contender in enumerate(results.contenders)}
    figures = [_curves(results, metric, looks) for metric in results.metrics]
    courses = [(run, [_course(run, metric) for metric in run.curves]) for run in runs]
    shown = exhibits(results, count, budget)
    html = _render(
        results=results,
        looks=looks,
        key=charts.key,
        figures=figures,
        courses=courses,
        header=_header(results),
        rows=list(_rows(results)),
        usage=list(_usage(results, looks)),
        exhibits=shown,
        tracks=sum(len(exhibit.tracks) for exhibit in shown),
        left_out=sum(exhibit.left_out for exhibit in shown),
        megabytes=sum(len(t.source) + len(t.picture) for e in shown for t in e.tracks) / 1e6,
        limits={"seconds": SECONDS, "side": SIDE, "gain": LARGEST_GAIN, "megabytes": budget / 1e6},
        protocol=list(_flat(results.protocol)),
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic(target) as temporary:
        temporary.write_text(html, encoding="utf-8")
    folder = target.with_name(f"{target.stem}_curves")
    return [
        target,
        *(_save(folder, f"{f.name}.svg", f.alone) for f in [*figures, *(f for _, of in courses for f in of)]),
    ]


def _render(**context: Any) -> str:
    environment = Environment(
        loader=PackageLoader(TEMPLATES),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    folder = files(TEMPLATES) / "templates"
    script = "\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}\n}})();\n'
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = (folder / "report.css").read_text(encoding="utf-8")
    inline = {"script": Markup(script), "digest": digest, "style": Markup(style + charts.STYLE)}
    return environment.get_template("report.html.j2").render(**inline, **context)


def number(value: float | None, digits: int = 4) -> str:
    """For people: so many significant digits, thousands apart; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _curves(results: Results, metric: str, looks: dict[str, int]) -> Figure:
    lines = []
    for contender in results.contenders:
        points = [point for point in contender.points if metric in point.figures]
        dots = tuple(
            charts.Dot(p.written, p.figures[metric], _note(contender, p, metric, results.unit)) for p in points
        )
        if dots:
            lines.append(charts.Line(contender.name, looks[contender.name], dots))
    arrow = {1: " ↑ higher is better", -1: " ↓ lower is better"}.get(results.better.get(metric, 0), "")
    label = f"written {results.unit}, headers included (log scale)"
    drawings = [charts.chart(f"{metric}{arrow}", label, lines, alone=alone) for alone in (False, True)]
    return Figure(_plain(metric), *drawings)


def _note(contender: Contender, point: Point, metric: str, unit: str) -> str:
    rates = [f"{number(point.written)} {unit} written"]
    rates += [f"{number(point.nominal)} nominal"] if point.nominal is not None else []
    rates += [f"{number(point.entropy)} entropy"] if point.entropy is not None else []
    return f"{contender.name}, {point.setting}: {metric} {number(point.figures[metric])} at {', '.join(rates)}"


def _course(run: Run, metric: str) -> Figure:
    lines = [
        charts.Line(label, i, tuple(charts.Dot(x, y, f"{label}, step {x:g}: {metric} {number(y)}") for x, y in dots))
        for i, (label, dots) in enumerate(run.curves[metric].items())
    ]
    drawings = [charts.chart(metric, "step", lines, logarithmic=False, alone=alone) for alone in (False, True)]
    return Figure(_plain(f"run_{run.name}_{metric}"), *drawings)


def _header(results: Results) -> list[str]:
    rates = [f"{kind} {results.unit}" for kind in ("written", "nominal", "entropy")]
    arrows = {1: " ↑", -1: " ↓"}
    metrics = [f"{metric}{arrows.get(results.better.get(metric, 0), '')}" for metric in results.metrics]
    speeds = [f"{way} {results.speed_unit}" for way in ("encode", "decode")]
    return ["codec", "kind", "setting", *rates, *metrics, *speeds, "files", "failed"]


def _rows(results: Results) -> Iterator[list[Cell]]:
    for contender in results.contenders:
        for point in contender.points:
            figures = [point.figures.get(metric) for metric in results.metrics]
            values = [point.written, point.nominal, point.entropy, *figures, point.encode_speed, point.decode_speed]
            cells = [
                Cell(contender.name, None, False),
                Cell(contender.kind, None, False),
                Cell(point.setting, point.order, False),
            ]
            cells += [Cell(number(value), value) for value in values]
            yield [*cells, *(Cell(str(n), float(n)) for n in (point.files, point.failed))]


def _usage(results: Results, looks: dict[str, int]) -> Iterator[tuple[Contender, Point, Markup]]:
    """Of each codec with codebooks, at its highest rate."""
    for contender in results.contenders:
        point = contender.points[-1]
        if point.usage:
            perplexities = [*point.perplexity, *[float("nan")] * len(point.usage)]
            notes = [
                f"codebook {i}: {100 * used:.1f} % of its entries used, perplexity {perplexity:.1f}"
                for i, (used, perplexity) in enumerate(zip(point.usage, perplexities, strict=False), 1)
            ]
            title = f"{contender.name}, {point.setting}: entries used"
            yield contender, point, charts.bars(title, point.usage, notes, looks[contender.name])


def _flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested plain data as names and texts; long lists in short."""
    if isinstance(value, dict) and len(value) <= 40:
        for key, item in value.items():
            yield from _flat(item, f"{name} / {key}" if name else str(key))
    elif isinstance(value, dict | list) and len(value) > 40:
        yield name, f"{len(value)} entries, in protocol.json"
    else:
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _save(folder: Path, name: str, svg: Markup) -> Path:
    folder.mkdir(exist_ok=True)
    with atomic(folder / name) as temporary:
        temporary.write_text(svg, encoding="utf-8")
    return folder / name


def _plain(name: str) -> str:
    """A name as part of a path."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:80] or "unnamed"
