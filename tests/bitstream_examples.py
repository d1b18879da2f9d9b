"""Files that the bitstream tests share, with codes that look like a codec's: a few of them frequent, and lasting."""

import io
from dataclasses import dataclass, replace

import numpy as np

from neuralcodecs.bitstream import UNKNOWN, Header, Original, Reader, StreamSpec, Writer, split

FINGERPRINT = bytes.fromhex("0123456789abcdef")


def codes(rng: np.random.Generator, alphabet: tuple[int, ...], grid: tuple[int, ...]) -> np.ndarray:
    """Zipf-distributed symbols that repeat along the first axis with probability 1/4; the largest ones occur."""
    values = np.stack([(rng.zipf(1.2, grid) * 2654435761) % size for size in alphabet]).astype(np.int64)
    values = np.where(rng.random(values.shape) < 0.02, np.array(alphabet).reshape(-1, *(1,) * len(grid)) - 1, values)
    repeat = rng.random(values.shape) < 0.25
    for index in range(1, grid[0]):
        values[:, index] = np.where(repeat[:, index], values[:, index - 1], values[:, index])
    return values


@dataclass(frozen=True)
class Example:
    """A header, whole values of its streams, and the chunk lengths to cut them into."""

    header: Header
    values: tuple[np.ndarray, ...]
    length: int | None = None
    side_lengths: tuple[int, ...] = ()

    def data(self) -> bytes:
        """The file, written with every length known."""
        return self._write(self.header)

    def open_data(self) -> bytes:
        """The same file as it is written before its length is known."""
        return self._write(self.header.closed((UNKNOWN,) * len(self.header.lengths)))

    def _write(self, header: Header) -> bytes:
        file = io.BytesIO()
        writer = Writer(file, header)
        for chunk in split(header, self.values, self.length, self.side_lengths):
            writer.append(chunk)
        if header.is_open:
            original = self.header.original
            writer.finish(self.header.shape[0], None if original is None else original.shape[0])
        else:
            writer.finish()
        return file.getvalue()

    def equals(self, header: Header, values: tuple[np.ndarray, ...]) -> bool:
        return header == self.header and all(map(np.array_equal, values, self.values))


def example(header: Header, seed: int = 0, length: int | None = None, side_lengths: tuple[int, ...] = ()) -> Example:
    rng = np.random.default_rng(seed)
    return Example(header, tuple(codes(rng, s.alphabet, s.grid) for s in header.streams), length, side_lengths)


def decode(data: bytes) -> tuple[Header, tuple[np.ndarray, ...]]:
    reader = Reader(io.BytesIO(data))
    values = reader.read_all()
    return reader.header, values


def audio(seconds: float = 10, levels: int = 8, seed: int = 0, chunk_seconds: float = 10) -> Example:
    """24 kHz mono at 75 frames per second, 10 bits a code: 0.75 kbit/s a level."""
    grid = (round(75 * seconds),)
    header = Header(FINGERPRINT, 24000, 1, (round(24000 * seconds),), (StreamSpec("codes", (1024,) * levels, grid),))
    return example(header, seed, round(75 * chunk_seconds))


def image(grid: tuple[int, int] = (16, 16), alphabet: int = 16384, stride: int = 16) -> Example:
    shape = (grid[0] * stride, grid[1] * stride)
    return example(Header(FINGERPRINT, 0, 3, shape, (StreamSpec("codes", (alphabet,), grid),)))


def stereo(seed: int = 0) -> Example:
    """Small, with every optional part: a scale per 10 frames, a seed, an empty caption, an original, metadata."""
    streams = (
        StreamSpec("codes", (1000, 1000, 7), (45,)),
        StreamSpec("scale", (2**32,), (5,)),
        StreamSpec("seed", (2**16, 2**16), (1,)),
        StreamSpec("caption", (256,), (0,)),
    )
    header = Header(
        FINGERPRINT, 48000, 2, (14321,), streams, Original(44100, 1, (13157,)), {"title": "Übung", "name": "a b.wav"}
    )
    return example(header, seed, 20, (2, 1, 1))


def duet(seed: int = 0) -> Example:
    """As few bytes as two streams, two chunks, an original and metadata take."""
    streams = (StreamSpec("codes", (1000, 7), (5,)), StreamSpec("scale", (2**32,), (2,)))
    header = Header(FINGERPRINT, 24000, 2, (700,), streams, Original(48000, 1, (1400,)), {"title": "Ü"})
    return example(header, seed, 3, (1,))


def banded(seed: int = 0) -> Example:
    """A picture in three bands of rows."""
    header = Header(FINGERPRINT, 0, 3, (88, 120), (StreamSpec("codes", (16384,), (6, 8)),))
    return replace(example(header, seed), length=2)
