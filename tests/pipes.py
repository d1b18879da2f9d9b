"""Standard input and output as pipes, and what programs send through them."""

import io
from types import SimpleNamespace

import pytest


class Pipe(io.BytesIO):
    """Bytes that cannot be sought in, as a pipe."""

    def seekable(self) -> bool:
        return False


def forget_length(data: bytes) -> bytes:
    """A WAV with the sizes of a program that does not know them."""
    return data[:4] + b"\xff\xff\xff\xff" + data[8:40] + b"\xff\xff\xff\xff" + data[44:]


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> io.BytesIO:
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=Pipe(data)))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=out, write=lambda s: pytest.fail(s), flush=lambda: None))
    return out
