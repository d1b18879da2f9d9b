"""Configs with smaller networks of the same structure: full-size ones take minutes on a CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from conftest import ROOT


def _codec(path: Path) -> Any:
    return yaml.safe_load(path.read_text())["model"]["init_args"].get("codec")


CODECS = {path: _codec(path) for path in sorted((ROOT / "configs").rglob("*.yaml")) if isinstance(_codec(path), dict)}
"""The codec of every config that makes one: those of priors and language models name the run of another."""

WIDTHS = {
    "filters": 8,
    "width": 64,
    "multipliers": 2,
    "blocks": 1,
    "dim": 64,
    "hidden": 64,
    "channels": 16,
    "code_dim": 32,
    "heads": 4,
    "channel_widths": 16,
    "depths": 1,
    "state": 4,
    "widths": 16,
    "steps": 4,
}
"""Arguments that only make a network larger, or a decoder slower, and what they are cut to."""


def narrow(node: Any, caps: Mapping[str, int] = WIDTHS, name: str = "") -> Any:
    """The config with every argument in ``caps`` lowered to at most that. Of ``channels``, only lists are widths."""
    if isinstance(node, dict):
        return {key: narrow(value, caps, key) for key, value in node.items()}
    if isinstance(node, list):
        return [min(item, caps[name]) if name in caps else narrow(item, caps) for item in node]
    return min(node, caps[name]) if name in caps and name != "channels" else node
