"""The header of a file: which codec made it, what the signal is, and the streams that its chunks carry."""

import math
import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from neuralcodecs.bitstream import limits as bounds
from neuralcodecs.bitstream.limits import DEFAULT_LIMITS, Limits
from neuralcodecs.bitstream.metadata import Metadata
from neuralcodecs.bitstream.packing import LARGEST_ALPHABET, packed_bytes
from neuralcodecs.errors import CodecError

Shape = tuple[int, ...]

FINGERPRINT_BYTES = 8
UNKNOWN = -1
"""First axis of the signal's shape and of every grid in a file written before its length was known."""
FIXED_WIDTH = 0
MAIN_STREAM = "codes"

_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{bounds.NAME_BYTES}}}")


@dataclass(frozen=True)
class StreamSpec:
    """One stream: its name, alphabet size per codebook, whole grid, and the coder of its payload (0: fixed width).

    ``prior``: 8 bytes that name the tables or weights of a coder; none at fixed width.
    """

    name: str
    alphabet: Shape
    grid: Shape
    coder: int = FIXED_WIDTH
    prior: bytes = b""

    @property
    def row(self) -> int:
        """Positions at one index of the first axis."""
        return math.prod(self.grid[1:])

    def symbols(self, count: int) -> int:
        """Symbols of all codebooks at ``count`` indices of the first axis."""
        return count * self.row * len(self.alphabet)

    def payload_bytes(self, count: int) -> int:
        """Bytes of ``count`` indices of the first axis at fixed width."""
        return packed_bytes(self.alphabet, count * self.row)


class Original(NamedTuple):
    """What the input was before it was resampled, mixed or resized to fit the codec."""

    rate: int
    channels: int
    shape: Shape


@dataclass(frozen=True)
class Header:
    """What a reader needs before the first chunk.

    ``fingerprint``: 8 bytes that name the codec. ``rate``: samples per second (0 for images). ``shape``: axes of the
    codec's signal after channels, ``(samples,)`` or ``(height, width)``. The first of ``streams`` is the main one.
    """

    fingerprint: bytes
    rate: int
    channels: int
    shape: Shape
    streams: tuple[StreamSpec, ...]
    original: Original | None = None
    metadata: Metadata | None = None

    @property
    def is_open(self) -> bool:
        """Whether the length is still unknown: it follows the last chunk."""
        return self.shape[:1] == (UNKNOWN,)

    @property
    def totals(self) -> Shape:
        """Length of the first grid axis of every stream."""
        return tuple(stream.grid[0] for stream in self.streams)

    @property
    def lengths(self) -> Shape:
        """First axes: of the signal, of the original where there is one, of every stream's grid."""
        original = () if self.original is None else (self.original.shape[0],)
        return (self.shape[0], *original, *self.totals)

    def closed(self, lengths: Shape) -> "Header":
        """The header with other ``lengths``, those of an open one having become known."""
        length, *rest = lengths
        original = self.original
        if original is not None:
            original = original._replace(shape=(rest.pop(0), *original.shape[1:]))
        streams = tuple(replace(s, grid=(total, *s.grid[1:])) for s, total in zip(self.streams, rest, strict=True))
        return replace(self, shape=(length, *self.shape[1:]), streams=streams, original=original)


def check(header: Header, limits: Limits = DEFAULT_LIMITS) -> None:
    """CodecError for a header that no file may have, or that exceeds a limit."""
    if len(header.fingerprint) != FINGERPRINT_BYTES:
        raise CodecError(f"a fingerprint has {FINGERPRINT_BYTES} bytes, not {len(header.fingerprint)}")
    _check_signal(header.rate, header.channels, header.shape, header.is_open, limits)
    if header.original is not None:
        if len(header.original.shape) != len(header.shape):
            raise CodecError(f"original of shape {header.original.shape} for a signal of shape {header.shape}")
        _check_signal(*header.original, header.is_open, limits)
    within("streams", len(header.streams), limits.streams, 1, "streams")
    within("codebooks", sum(len(stream.alphabet) for stream in header.streams), limits.codebooks, 1, "codebooks")
    if len({stream.name for stream in header.streams}) < len(header.streams):
        raise CodecError("two streams have the same name: give each its own")
    for stream in header.streams:
        _check_stream(stream, header.is_open, limits)
    if not header.is_open:
        symbols = sum(stream.symbols(stream.grid[0]) for stream in header.streams)
        within("symbols", symbols, limits.symbols, 0, "symbols")


def within(what: str, value: int, most: int, least: int = 0, field: str = "") -> None:
    """CodecError naming ``what`` unless ``least <= value <= most``; ``field`` of Limits is what would allow more."""
    if not least <= value <= most:
        remedy = f": raise Limits.{field} to allow it" if field and value > most else ""
        raise CodecError(f"{what}: {value} is outside {least} to {most}{remedy}")


def _check_axes(what: str, shape: Shape, is_open: bool) -> None:
    within(f"axes of {what}", len(shape), bounds.AXES, 1)
    if (shape[0] == UNKNOWN) != is_open or min(shape[1:], default=1) < 1 or shape[0] < UNKNOWN:
        known = "unknown" if is_open else "known"
        raise CodecError(f"{what} of {shape}: the first axis must be {known} here, and the others at least 1")


def _check_signal(rate: int, channels: int, shape: Shape, is_open: bool, limits: Limits) -> None:
    _check_axes("signal", shape, is_open)
    within("rate", rate, bounds.LARGEST_RATE)
    within("channels", channels, limits.channels, 1, "channels")
    if rate == 0:
        within("pixels", abs(math.prod(shape)), limits.pixels, 0, "pixels")
        return
    within("pixels of a frame", math.prod(shape[1:]), limits.pixels, 0, "pixels")
    if not is_open:
        within("seconds", -(-shape[0] // rate), limits.duration, 0, "duration")


def _check_stream(stream: StreamSpec, is_open: bool, limits: Limits) -> None:
    if not _NAME.fullmatch(stream.name):
        raise CodecError(f"stream name {stream.name!a}: use 1 to {bounds.NAME_BYTES} letters, digits, '_', '.', '-'")
    _check_axes(f"grid of {stream.name!r}", stream.grid, is_open)
    within(f"codebooks of {stream.name!r}", len(stream.alphabet), limits.codebooks, 1, "codebooks")
    for size in stream.alphabet:
        within(f"alphabet of {stream.name!r}", size, LARGEST_ALPHABET, 1)
    within(f"coder of {stream.name!r}", stream.coder, bounds.CODERS - 1)
    prior = 0 if stream.coder == FIXED_WIDTH else FINGERPRINT_BYTES
    within(f"bytes of the prior of {stream.name!r}", len(stream.prior), prior, prior)
    within(f"positions of {stream.name!r} at one index of the first axis", stream.row, bounds.CHUNK_POSITIONS, 1)
