"""Golden files that every version reads: one for each kind of signal and each part of the format."""

import io
from collections.abc import Sequence

import numpy as np

from neuralcodecs.bitstream import UNKNOWN, Header, Original, StreamSpec, Writer, split
from neuralcodecs.bitstream.metadata import Metadata

MODEL = bytes.fromhex("c0dec00123456789")
TITLE: Metadata = {"title": "Übung № 1", "name": "a b.wav", "samples": "PCM_16"}


def good_files() -> dict[str, tuple[bytes, str]]:
    """Bytes by name, and no message."""
    speech, music = ((24000, 1), (48000, 2))
    codes = StreamSpec("codes", (1024,) * 8, (9,))
    pieces = (StreamSpec("codes", (1024,) * 2, (12,)), StreamSpec("scale", (2**32,), (3,)))
    picture = StreamSpec("codes", (2**14,), (6, 8))
    side = (StreamSpec("codes", (1000, 1000, 7), (20,)), StreamSpec("seed", (2**16,), (1,)), _text("caption", 5))
    files = {
        "audio-1-channel": _file(*speech, (2700,), codes),
        "audio-2-channels": _file(*music, (2800,), codes),
        "audio-chunks": _file(*speech, (2700,), codes, length=4),
        "audio-open": _file(*speech, (2700,), codes, length=4, is_open=True),
        "audio-open-one-chunk": _file(*speech, (2700,), codes, is_open=True),
        "audio-original": _file(*speech, (2700,), codes, original=Original(44100, 2, (4960,))),
        "audio-metadata": _file(*speech, (2700,), codes, metadata=TITLE),
        "audio-open-original-metadata": _file(
            *speech, (2700,), codes, length=5, is_open=True, original=Original(8000, 1, (900,)), metadata=TITLE
        ),
        "audio-pieces-and-scale": _file(*music, (3800,), *pieces, length=4, sides=(1,)),
        "audio-pieces-and-scale-open": _file(*music, (3800,), *pieces, length=4, sides=(1,), is_open=True),
        "audio-side-streams": _file(*speech, (6000,), *side),
        "audio-one-sample": _file(*speech, (1,), StreamSpec("codes", (1024,), (1,))),
        "audio-empty": _file(*speech, (0,), StreamSpec("codes", (1024,), (0,))),
        "picture": _file(0, 3, (96, 128), picture),
        "picture-gray-odd": _file(0, 1, (83, 117), picture),
        "picture-rows-in-chunks": _file(0, 3, (96, 128), picture, length=2),
        "picture-of-tokens": _file(0, 3, (256, 256), StreamSpec("codes", (4096,), (32,))),
        "video": _file(25, 3, (4, 32, 48), StreamSpec("codes", (64, 8), (2, 4, 6))),
        "alphabet-1": _file(*speech, (2700,), StreamSpec("codes", (1,), (9,))),
        "alphabet-2": _file(*speech, (2700,), StreamSpec("codes", (2,) * 13, (9,))),
        "alphabet-1000": _file(*speech, (2700,), StreamSpec("codes", (1000,) * 3, (9,))),
        "alphabet-2-to-18": _file(0, 3, (64, 64), StreamSpec("codes", (2**18,), (4, 4))),
        "alphabet-2-to-32": _file(*speech, (2700,), StreamSpec("codes", (2**32,) * 2, (9,))),
        "alphabets-mixed": _file(*speech, (2700,), StreamSpec("codes", (1, 8, 5, 5, 2**32, 3), (9,))),
    }
    return {name: (data, "") for name, data in files.items()}


def _file(
    rate: int,
    channels: int,
    shape: tuple[int, ...],
    *streams: StreamSpec,
    length: int | None = None,
    sides: Sequence[int] = (),
    is_open: bool = False,
    original: Original | None = None,
    metadata: Metadata | None = None,
) -> bytes:
    header = Header(MODEL, rate, channels, shape, streams, original, metadata)
    begun = header.closed((UNKNOWN,) * len(header.lengths)) if is_open else header
    file = io.BytesIO()
    writer = Writer(file, begun)
    for chunk in split(header, [_values(stream) for stream in streams], length, sides):
        writer.append(chunk)
    writer.finish(shape[0], original.shape[0] if original else None)
    return file.getvalue()


def _values(stream: StreamSpec) -> np.ndarray:
    """Values all over each alphabet: ``-1 - k * 2654435761 mod size`` for the k-th symbol, its last one first."""
    counted = np.arange(stream.symbols(stream.grid[0])).reshape(len(stream.alphabet), *stream.grid)
    rows = [size - 1 - row * 2654435761 % size for row, size in zip(counted, stream.alphabet, strict=True)]
    return np.stack(rows).astype(np.int64)


def _text(name: str, length: int) -> StreamSpec:
    return StreamSpec(name, (256,), (length,))
