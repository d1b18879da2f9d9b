"""A judgement as text: a table of all codecs and settings, and what could not be measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from neuralcodecs.evaluation.store import Line


def lines_of(summary: Mapping[str, Any]) -> list[str]:
    """A line per codec and setting: rates, figures, usage, speeds."""
    codecs = summary["codecs"]
    names = list(dict.fromkeys(n for c in codecs.values() for s in c["settings"] for n in s.get("figures", {})))
    unit, speed = summary["unit"], summary["speed_unit"]
    rows = [["codec", "setting", "files", f"written {unit}", "nominal", "entropy", *names, "usage %"]]
    rows[0] += [f"encode {speed}", "decode"]
    for codec, facts in codecs.items():
        for s in facts["settings"]:
            rows.append([codec, s["setting"], _files(s), *_cells(s, names)] if s["files"] else _none(codec, s, rows[0]))
    return [*aligned(rows), *costs(summary)]


def costs(summary: Mapping[str, Any]) -> list[str]:
    """Parameters and arithmetic of the models, and why a metric is not there."""
    per = summary["unit"].replace("bpp", "bit/pixel").partition("/")[2]
    told = [
        f"{name}: {c['parameters'] / 1e6:,.3f} M parameters, {c['macs'] / 1e3:,.0f} kMAC/{per}"
        for name, c in summary["codecs"].items()
        if c["parameters"] is not None
    ]
    told += [f"{name}: {c['identity']}" for name, c in summary["codecs"].items() if c["kind"] == "classical"]
    told += [f"not measured: {name}: {reason}" for name, reason in summary["absent"].items()]
    return told + [f"not read: {name}: {reason}" for name, reason in summary["unreadable"].items()]


def failures_of(lines: Sequence[Line]) -> list[str]:
    """What failed and how often, a line per codec, metric and reason."""
    counts: dict[str, int] = {}
    for line in lines:
        told = [line.error] if line.error else [f"{name}: {reason}" for name, reason in line.failures.items()]
        for reason in told:
            counts[f"{line.codec}: {reason}"] = counts.get(f"{line.codec}: {reason}", 0) + 1
    return [f"failed {count} times: {what}" for what, count in sorted(counts.items())]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines; the first column to the left, others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in rows
    ]


def _files(setting: Mapping[str, Any]) -> str:
    return f"{setting['files']}" + (f" ({setting['failed']} failed)" if setting["failed"] else "")


def _cells(s: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    rates = [_number(s[name]) for name in ("rate_written", "rate_nominal", "rate_entropy")]
    figures = [_number(s["figures"].get(name)) + _failed(s["failures"].get(name, 0)) for name in names]
    usage = f"{100 * sum(s['usage']) / len(s['usage']):.0f}" if s["usage"] else "-"
    return [*rates, *figures, usage, f"{s['encode_speed']:.3g}", f"{s['decode_speed']:.3g}"]


def _none(codec: str, s: Mapping[str, Any], header: Sequence[str]) -> list[str]:
    return [codec, s["setting"], _files(s), *["-"] * (len(header) - 3)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _failed(count: int) -> str:
    return f" ({count} failed)" if count else ""


def bd_lines(summary: Mapping[str, Any]) -> list[str]:
    """BD-rates per codec and metric; with the reason where there is none."""
    told = summary.get("bd_rate")
    if not told:
        return []
    rows = [["codec", "metric", "BD-rate %", "overlap %", "points", "dropped", ""]]
    for metric, codecs in told["metrics"].items():
        for name, found in codecs.items():
            percent = "-" if found["percent"] is None else f"{found['percent']:+.1f}"
            points = f"{found['points'][0]}, {found['points'][1]}"
            overlap = f"{100 * found['overlap']:.0f}"
            rows.append([name, metric, percent, overlap, points, str(found["dropped"]), found["reason"]])
    return ["", f"BD-rate against {told['anchor']}: {told['method']}", *aligned(rows)]
