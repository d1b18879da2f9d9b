"""The model card of an exported codec: what it is, how it is used, and the last figures that were measured."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuralcodecs.codec import Codec
from neuralcodecs.models import METRICS

CARD = "README.md"


@dataclass(frozen=True)
class Origin:
    """What a card says beyond what the codec itself tells.

    ``name``: of the model, in commands. ``title``: the heading. ``licence``: as the hub abbreviates it. ``facts``: of
    training and data, by name. ``beside``: other codecs on the same files: ``codec``, ``written`` in the medium's unit,
    and figures by the metrics' names.
    """

    name: str
    title: str
    licence: str
    facts: Mapping[str, str] = field(default_factory=dict)
    beside: Sequence[Mapping[str, Any]] = ()


def metrics_of(checkpoint: Path) -> dict[str, Any] | None:
    """The evaluation that lies beside a checkpoint: its own, else the folder's newest if that is its; None if none."""
    for path in (checkpoint.with_suffix(".metrics.json"), checkpoint.with_name(METRICS)):
        try:
            metrics = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if metrics.get("settings") and metrics.get("checkpoint", checkpoint.name) == checkpoint.name:
            return metrics
    return None


def card(codec: Codec, identity: str, metrics: dict[str, Any] | None, origin: Origin | None = None) -> str:
    """Markdown with the front matter that the hub reads; ``metrics``: an evaluation as plain data."""
    medium, codebooks, own = codec.medium, len(codec.quantizer.codebook_sizes), codec.quantizer.coders()
    name = origin.name if origin else "THIS_MODEL"
    count = sum(p.numel() for p in codec.parameters())
    bits = {n: sum(map(math.log2, codec.quantizer.alphabet(n))) for n in codec.quantizer.levels}
    rates = {n: medium.bitrate(count, codec.encoder.strides) for n, count in bits.items()}
    lines = [
        "---",
        "library_name: neuralcodecs",
        "tags: [neural-codec]",
        *([f"license: {origin.licence}"] if origin else []),
        "---",
        "",
        f"# {origin.title if origin else 'A codec made with neuralcodecs'}",
        "",
        f"* model {identity}: the fingerprint that its files carry",
        f"* {type(medium).__name__}, {medium.channels} channels" + (f", {medium.rate} Hz" if medium.rate else ""),
        f"* {count:,} parameters; {codebooks} codebooks; strides {list(codec.encoder.strides)}",
        # codes of a codec that codes them itself have no width
        *(f"* {n} levels: {rate:.3g} {medium.unit} nominal" for n, rate in rates.items() if not own),
        *(f"* {name} prior {p.fingerprint.hex()}: entropy coding of its files" for name, p in codec.priors.items()),
        *(f"* {name}: {fact}" for name, fact in (origin.facts if origin else {}).items()),
        "",
        "```sh",
        f"neuralcodecs encode INPUT -m {name}",
        f"neuralcodecs decode INPUT.ncs -m {name}",
        "```",
        "",
        "```python",
        f'codec = neuralcodecs.load("{name}")',
        "codes = codec.encode(signal)",
        "```",
        "",
    ]
    measured = _measured(metrics, origin.beside if origin else ()) if metrics else []
    return "\n".join(lines + measured)


def _measured(metrics: dict[str, Any], beside: Sequence[Mapping[str, Any]]) -> list[str]:
    settings = metrics["settings"]
    names = list(dict.fromkeys(name for s in settings for name in s.get("figures", {})))
    unit = metrics.get("unit", "")
    header = ["levels", f"nominal {unit}", f"entropy {unit}", f"written {unit}", *names]
    rows = [
        [str(s["levels"]), *(f"{s[k]:.3f}" for k in ("nominal", "entropy", "written"))]
        + [_figure(s.get("figures", {}), name) for name in names]
        for s in settings
    ]
    rows += [[str(r["codec"]), "-", "-", _figure(r, "written"), *(_figure(r, name) for name in names)] for r in beside]
    step = f" at step {metrics['step']}" if "step" in metrics else ""
    return [
        f"Measured on {settings[0]['files']} files{step}:",
        "",
        *(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows]),
        "",
        *(f"* {name}: {definition}" for name, definition in metrics.get("definitions", {}).items()),
        "",
    ]


def _figure(figures: Mapping[str, Any], name: str) -> str:
    return f"{figures[name]:.3f}" if name in figures else "-"
