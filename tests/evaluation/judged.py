"""Made-up results for tests of comparisons."""

from pathlib import Path
from typing import Any

import numpy as np

from neuralcodecs.evaluation.history import Judged
from neuralcodecs.evaluation.store import Line


def made_protocol(**changes: Any) -> dict[str, Any]:
    """A protocol as ``protocol.protocol`` makes it."""
    return {
        "metrics": {"score": "the first definition"},
        "higher_is_better": {"score": True},
        "absent": {},
        "data": {"files": {f"{n}.wav": "00" for n in range(30)}, "sha256": "11"},
        "code": {"version": "0", "commit": "a"},
        "packages": {},
        "machine": {"threads": 1},
    } | changes


def made_run(
    values: np.ndarray, name: str = "a", rate: float = 6.0, setting: str = "8 levels", **changes: Any
) -> Judged:
    """One file of a second per value, all at one setting of ``rate`` kbit/s."""
    bits = (1000 * rate, None, int(1000 * rate))
    where = [(name, "model", setting, 8.0, 8, f"{n}.wav", "", 1.0, "kbit/s") for n in range(len(values))]
    lines = tuple(Line(*w, *bits, 0.1, 0.1, {"score": float(value)}) for w, value in zip(where, values, strict=True))
    return Judged(name, lines, made_protocol(**changes))


def folder_of(path: Path) -> list[str]:
    """Every file below, by its path."""
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
