"""The model card of an exported codec: what it is, how it is used, and the last figures that were measured."""

import json
import math
from pathlib import Path
from typing import Any

from neuralcodecs.codec import Codec

CARD = "README.md"
METRICS = "metrics.json"


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


def card(codec: Codec, identity: str, metrics: dict[str, Any] | None) -> str:
    """Markdown with the front matter that the hub reads."""
    medium, codebooks = codec.medium, len(codec.quantizer.codebook_sizes)
    count = sum(p.numel() for p in codec.parameters())
    bits = {n: sum(map(math.log2, codec.quantizer.alphabet(n))) for n in codec.quantizer.levels}
    rates = {n: medium.bitrate(count, codec.encoder.strides) for n, count in bits.items()}
    lines = [
        "---",
        "library_name: neuralcodecs",
        "tags: [neural-codec]",
        "---",
        "",
        "# A codec made with neuralcodecs",
        "",
        f"* model {identity}: the fingerprint that its files carry",
        f"* {type(medium).__name__}, {medium.channels} channels" + (f", {medium.rate} Hz" if medium.rate else ""),
        f"* {count:,} parameters; {codebooks} codebooks; strides {list(codec.encoder.strides)}",
        *(f"* {n} levels: {rate:.3g} {medium.unit} nominal" for n, rate in rates.items()),
        *(f"* {name} prior {p.fingerprint.hex()}: entropy coding of its files" for name, p in codec.priors.items()),
        "",
        "```sh",
        "neuralcodecs encode INPUT -m THIS_MODEL",
        "neuralcodecs decode INPUT.ncs -m THIS_MODEL",
        "```",
        "",
        "```python",
        "codec = neuralcodecs.Codec.from_pretrained('THIS_MODEL')",
        "codes = codec.encode(signal)",
        "```",
        "",
    ]
    return "\n".join(lines + (_measured(metrics) if metrics else []))


def _measured(metrics: dict[str, Any]) -> list[str]:
    settings = metrics["settings"]
    names = list(dict.fromkeys(name for s in settings for name in s.get("figures", {})))
    unit = metrics.get("unit", "")
    header = ["levels", f"nominal {unit}", f"entropy {unit}", f"written {unit}", *names]
    rows = [
        [str(s["levels"]), *(f"{s[k]:.3f}" for k in ("nominal", "entropy", "written"))]
        + [f"{s['figures'][n]:.3f}" if n in s.get("figures", {}) else "-" for n in names]
        for s in settings
    ]
    step = f" at step {metrics['step']}" if "step" in metrics else ""
    return [
        f"Measured on {settings[0]['files']} files{step}:",
        "",
        *(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows]),
        "",
        *(f"* {name}: {definition}" for name, definition in metrics.get("definitions", {}).items()),
        "",
    ]
