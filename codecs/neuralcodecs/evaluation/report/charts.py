"""Curves and bars as SVG: readable as they stand, on light and dark, without colour, and without a script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours that stand out on both white and black."""
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 2")
MARKS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "M-3.6,-3.6h7.2v7.2h-7.2z",
    "M0,-4.8L4.6,3.6H-4.6z",
    "M0,-5L5,0L0,5L-5,0z",
    "M0,4.8L4.6,-3.6H-4.6z",
    "M-1.5,-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    "M-4.2,-4.2L4.2,4.2M4.2,-4.2L-4.2,4.2",
)
WIDTH, HEIGHT = 460.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 118.0, 30.0, 42.0
LABEL = 13
"""Distance of two labels at the right, at least."""
STYLE = """
.chart { font: 12px system-ui, sans-serif; color: #1b1b1f; background: #fff }
.chart text { fill: currentColor } .chart .axis { stroke: currentColor; stroke-opacity: .45 }
.chart .grid { stroke: currentColor; stroke-opacity: .13 } .chart .title { font-weight: 650; font-size: 13px }
.chart .line { fill: none; stroke-width: 2 } .chart .tick { font-size: 11px; fill-opacity: .75 }
.chart .leader { fill: none; stroke-width: 1; stroke-opacity: .45; stroke-dasharray: 1 3 }
@media (prefers-color-scheme: dark) { .chart { color: #e6e6ea; background: #17181c } }
"""


@dataclass(frozen=True)
class Dot:
    """A point of a curve. ``note``: what is told of it when one points at it."""

    x: float
    y: float
    note: str


@dataclass(frozen=True)
class Line:
    """A curve; ``look`` numbers its colour, dash and mark, one number for one codec in all charts."""

    name: str
    look: int
    dots: tuple[Dot, ...]


def colour(look: int) -> str:
    return PALETTE[look % len(PALETTE)]


def key(look: int) -> Markup:
    """The mark and dash of a line, for a legend."""
    return Markup(
        '<svg class="key" viewBox="-16 -7 32 14" width="32" height="14" aria-hidden="true">'
        '<path d="M-16,0H16" stroke="{0}" stroke-width="2" stroke-dasharray="{1}"/>'
        '<path d="{2}" fill="{0}" stroke="{0}"/></svg>'
    ).format(colour(look), DASHES[look % len(DASHES)], MARKS[look % len(MARKS)])


def chart(title: str, x_label: str, lines: Sequence[Line], logarithmic: bool = True, alone: bool = False) -> Markup:
    """An SVG of curves, labelled at their ends.

    ``logarithmic``: the axis of x, whose values are positive then. ``alone``: as a file of its own, with its style.
    """
    across = Axis([dot.x for line in lines for dot in line.dots], LEFT, WIDTH - RIGHT, logarithmic)
    up = Axis([dot.y for line in lines for dot in line.dots], HEIGHT - BOTTOM, TOP, False)
    parts = [_frame(across, up, x_label), *(_curve(line, across, up) for line in lines), _labels(lines, across, up)]
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">'
    )
    summary = f"{title} over {x_label}: {', '.join(line.name for line in lines)}"
    style = Markup("<style>{}</style>").format(Markup(STYLE)) if alone else Markup("")
    heading = Markup('<text class="title" x="6" y="17">{}</text>').format(title)
    return Markup("").join([head.format(WIDTH, HEIGHT, summary), style, heading, *parts, Markup("</svg>")])


class Axis:
    """Values to positions between ``start`` and ``stop``, with ticks at round values."""

    def __init__(self, values: Sequence[float], start: float, stop: float, logarithmic: bool) -> None:
        self.start, self.stop, self._logarithmic = start, stop, logarithmic
        low, high = min(map(self._scale, values)), max(map(self._scale, values))
        margin = 0.06 * (high - low) or max(0.05, 0.05 * abs(high))
        self._low, self._high = low - margin, high + margin

    def __call__(self, value: float) -> float:
        share = (self._scale(value) - self._low) / (self._high - self._low)
        return round(self.start + share * (self.stop - self.start), 2)

    def ticks(self) -> list[float]:
        if self._logarithmic:
            found = self._decades((1.0, 2.0, 5.0))
            found = self._decades((1.0,)) if len(found) > 7 else found
            return found if len(found) > 2 else self._decades(tuple(i / 2 for i in range(2, 20)))[:8]
        step = 10.0 ** math.floor(math.log10((self._high - self._low) / 2))
        step = next(step * f for f in (0.5, 1.0, 2.0, 5.0, 10.0) if (self._high - self._low) / (step * f) <= 6)
        first = math.ceil(self._low / step)
        return [i * step for i in range(first, math.floor(self._high / step) + 1)]

    def _decades(self, factors: Sequence[float]) -> list[float]:
        powers = range(math.floor(self._low), math.ceil(self._high) + 1)
        values = [f * 10.0**p for p in powers for f in factors]
        return [v for v in values if self._low <= math.log10(v) <= self._high]

    def _scale(self, value: float) -> float:
        return math.log10(value) if self._logarithmic else value


def bars(title: str, values: Sequence[float], notes: Sequence[str], look: int) -> Markup:
    """Shares in [0, 1], a bar each, numbered from 1 below."""
    width, height, top = 420, 96, 22
    step = (width - 8) / len(values)
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="chart bars" viewBox="0 0 {} {}" role="img" aria-label="{}">'
    )
    parts = [head.format(width, height, title), Markup('<text class="title" x="4" y="14">{}</text>').format(title)]
    for i, (value, note) in enumerate(zip(values, notes, strict=True)):
        tall = max(1.0, (height - top - 16) * min(1.0, max(0.0, value)))
        place = (round(4 + i * step, 2), round(height - 16 - tall, 2), round(step * 0.8, 2), round(tall, 2))
        bar = Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="{}" data-note="{}"><title>{}</title></rect>')
        parts.append(bar.format(*place, colour(look), note, note))
        if i % max(1, len(values) // 16) == 0:
            number = Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>')
            parts.append(number.format(round(4 + (i + 0.4) * step, 2), height - 4, i + 1))
    return Markup("").join([*parts, Markup("</svg>")])


def _frame(across: Axis, up: Axis, x_label: str) -> Markup:
    line = Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    text = Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>')
    parts = []
    for value in across.ticks():
        x = across(value)
        parts += [line.format("grid", x, x, up.start, up.stop), text.format(x, up.start + 16, "middle", f"{value:.4g}")]
    for value in up.ticks():
        y = up(value)
        parts += [line.format("grid", across.start, across.stop, y, y)]
        parts += [text.format(across.start - 6, y + 4, "end", f"{value:.6g}")]
    parts += [line.format("axis", across.start, across.stop, up.start, up.start)]
    middle = (across.start + across.stop) / 2
    return Markup("").join(
        [*parts, Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(middle, HEIGHT - 6, x_label)]
    )


def _curve(line: Line, across: Axis, up: Axis) -> Markup:
    places = [(across(dot.x), up(dot.y)) for dot in line.dots]
    path = " ".join(f"{'L' if i else 'M'}{x},{y}" for i, (x, y) in enumerate(places))
    shared = (line.name, path, colour(line.look), DASHES[line.look % len(DASHES)])
    start = Markup('<g data-codec="{}"><path class="line" d="{}" stroke="{}" stroke-dasharray="{}"/>').format(*shared)
    mark = Markup(
        '<path class="dot" d="{}" transform="translate({},{})" fill="{}" stroke="{}" data-note="{}">'
        "<title>{}</title></path>"
    )
    shape, paint = MARKS[line.look % len(MARKS)], colour(line.look)
    dots = [
        mark.format(shape, x, y, paint, paint, dot.note, dot.note)
        for (x, y), dot in zip(places, line.dots, strict=True)
    ]
    return Markup("").join([start, *dots, Markup("</g>")])


def _labels(lines: Sequence[Line], across: Axis, up: Axis) -> Markup:
    """The name of each curve at the right, moved apart where two would overlap, with a leader to the last point."""
    ends = sorted(((up(line.dots[-1].y), number) for number, line in enumerate(lines)))
    heights: list[float] = []
    for y, _ in ends:
        heights.append(max(y, heights[-1] + LABEL) if heights else y)
    excess = max(0.0, heights[-1] - (HEIGHT - BOTTOM)) if heights else 0.0
    text = Markup(
        '<g data-codec="{}"><path class="leader" d="M{},{}L{},{}" stroke="{}"/>'
        '<text x="{}" y="{}" font-size="11.5" style="fill:{}"><title>{}</title>{}</text></g>'
    )
    parts = []
    for height, (y, number) in zip(heights, ends, strict=True):
        line, x = lines[number], WIDTH - RIGHT + 8
        short = line.name if len(line.name) <= 18 else f"{line.name[:17]}…"
        paint, label = colour(line.look), round(height - excess, 1)
        leader = (across(line.dots[-1].x) + 6, y, x - 2, label)
        parts.append(text.format(line.name, *leader, paint, x, label + 4, paint, line.name, short))
    return Markup("").join(parts)
