"""What a golden file is expected to be, read from its bytes alone."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from neuralcodecs.bitstream import Header, Reader

FOLDER = Path(__file__).parent
EXPECTED = FOLDER / "expected.json"
MODELS = FOLDER / "coded" / "models.tar.xz"
"""What ``golden_coded.py`` made the files beside it with."""


def facts(data: bytes) -> dict[str, Any]:
    """Everything that a reader is told, values by their digest; CodecError for a bad file."""
    reader = Reader(io.BytesIO(data))
    values = reader.read_all()
    header = reader.header
    return {
        "fingerprint": header.fingerprint.hex(),
        "rate": header.rate,
        "channels": header.channels,
        "shape": list(header.shape),
        "original": header.original and [header.original.rate, header.original.channels, list(header.original.shape)],
        "metadata": header.metadata,
        "streams": [
            {"name": s.name, "alphabet": _runs(s.alphabet), "grid": list(s.grid), "coder": s.coder}
            for s in header.streams
        ],
        "chunks": [list(zip(info.starts, info.counts, strict=True)) for info in reader.chunks],
        "sha256": digest(header, values),
    }


def digest(header: Header, values: tuple[np.ndarray, ...]) -> str:
    """SHA-256 of all values as little-endian int64: stream by stream, codebook by codebook, last grid axis fastest."""
    hashed = hashlib.sha256()
    for stream, array in zip(header.streams, values, strict=True):
        assert array.shape == (len(stream.alphabet), *stream.grid)
        hashed.update(np.ascontiguousarray(array, "<i8").tobytes())
    return hashed.hexdigest()


def _runs(alphabet: tuple[int, ...]) -> list[list[int]]:
    """``[codebooks, size]`` for each run of one size."""
    runs: list[list[int]] = []
    for size in alphabet:
        if runs and runs[-1][1] == size:
            runs[-1][0] += 1
        else:
            runs.append([1, size])
    return runs
