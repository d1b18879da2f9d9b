"""Results as lines of a file that survives a kill: one JSON object per file, codec and setting, appended and synced."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = "results.jsonl"

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Line:
    """One file, coded by one codec at one setting.

    ``extent``: seconds or pixels. Bits are counts; ``nominal_bits`` and ``entropy_bits`` are None where a codec has no
    such count. ``figures`` by metric; ``failures`` say why a metric has no value; ``error`` why there is no decoding at
    all. ``rate``: samples per second of the judged signals (0 for pictures). ``delay``: samples removed before judging.
    ``output``: the decoding that was kept, relative to the results.
    """

    codec: str
    kind: str
    setting: str
    order: float
    levels: int | None
    file: str
    group: str
    extent: float
    unit: str
    nominal_bits: float | None
    entropy_bits: float | None
    written_bits: int
    encode_seconds: float
    decode_seconds: float
    figures: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    rate: int = 0
    shape: tuple[int, ...] = ()
    delay: int = 0
    output: str | None = None

    @property
    def key(self) -> Key:
        return self.codec, self.setting, self.file


def read_lines(path: Path) -> dict[Key, Line]:
    """The lines of a file by codec, setting and file, a later one in place of an earlier; without what is torn."""
    return {line.key: line for line in _whole(path)} if path.exists() else {}


class Appender:
    """Appends lines to ``path``; each is on the disk when ``write`` returns. A torn last line is cut off first."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(path, whole)
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: Line) -> None:
        self._file.write(json.dumps(asdict(line), ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _whole(path: Path) -> Iterator[Line]:
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values: dict[str, Any] = json.loads(text)
            yield Line(**{**values, "shape": tuple(values["shape"])})
        except (ValueError, TypeError, KeyError):  # torn by a kill: it is computed again
            continue
