"""The header as bytes; docs/format.md describes every one of them."""

import io
from itertools import groupby

from neuralcodecs.bitstream import limits as bounds
from neuralcodecs.bitstream.header import (
    FINGERPRINT_BYTES,
    FIXED_WIDTH,
    MAIN_STREAM,
    UNKNOWN,
    Header,
    Original,
    Shape,
    StreamSpec,
    check,
    within,
)
from neuralcodecs.bitstream.limits import DEFAULT_LIMITS, Limits
from neuralcodecs.bitstream.metadata import decode_metadata, encode_metadata
from neuralcodecs.bitstream.wire import LARGEST_INTEGER, Source, varint
from neuralcodecs.errors import CodecError

MAGIC = b"NCS"
VERSION = 1

# flags: three bits, then the number of axes of the signal
_ORIGINAL, _METADATA, _OPEN = 1, 2, 4
_AXES_SHIFT = 3


def encode_header(header: Header, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Everything before the header's CRC."""
    check(header, limits)
    first = 1 if header.is_open else 0
    flags = len(header.shape) << _AXES_SHIFT | (_OPEN if header.is_open else 0)
    parts = [varint(header.rate), varint(header.channels), *map(varint, header.shape[first:])]
    if header.original is not None:
        flags |= _ORIGINAL
        rate, channels, shape = header.original
        parts += [varint(rate), varint(channels), *map(varint, shape[first:])]
    if header.metadata is not None:
        flags |= _METADATA
        data = encode_metadata(header.metadata)
        parts += [varint(len(data)), data]
    for stream in header.streams:
        name = b"" if stream.name == MAIN_STREAM else stream.name.encode()
        runs = [(len(list(group)), size) for size, group in groupby(stream.alphabet)]
        parts += [varint(len(name)), name, varint(4 * len(runs) + len(stream.grid)), varint(stream.coder), stream.prior]
        parts += map(varint, stream.grid[first:])
        parts += [varint(count) + varint(size - 1) for count, size in runs]
    body = header.fingerprint + varint(flags) + b"".join(parts)
    within("header bytes", len(body), bounds.HEADER_BYTES)
    return MAGIC + bytes([VERSION]) + varint(len(body)) + body


def decode_header(source: Source, limits: Limits = DEFAULT_LIMITS) -> tuple[Header, int]:
    """The header at the start of a file and its CRC, which seeds the CRC of every chunk."""
    start = source.take(len(MAGIC) + 1, "the magic number")
    if start[:-1] != MAGIC:
        raise CodecError("this is not an .ncs file: it does not begin with the magic number")
    if start[-1] != VERSION:
        raise CodecError(f"the file has format version {start[-1]}, this program reads {VERSION}: update neuralcodecs")
    size = source.varint("the header's length", bounds.HEADER_BYTES)
    body = source.take(size, "the header")
    seed = source.check("the header")
    return _Body(body, limits).header(), seed


class _Body:
    """Parses the header's body, whose CRC has been checked; forged values are bounded all the same."""

    def __init__(self, body: bytes, limits: Limits) -> None:
        self.source = Source(io.BytesIO(body))
        self.limits = limits
        self.size = len(body)

    def header(self) -> Header:
        fingerprint = self.source.take(FINGERPRINT_BYTES, "the fingerprint")
        flags = self.source.varint("the header's flags", (bounds.AXES + 1 << _AXES_SHIFT) - 1)
        axes = flags >> _AXES_SHIFT
        known = () if not flags & _OPEN else (UNKNOWN,)
        signal = self.signal(axes, known)
        original = self.signal(axes, known) if flags & _ORIGINAL else None
        metadata = None
        if flags & _METADATA:
            size = self.source.varint("the metadata's length", bounds.METADATA_BYTES)
            metadata = decode_metadata(self.source.take(size, "the metadata"))
        streams: list[StreamSpec] = []
        while self.source.offset < self.size and len(streams) <= self.limits.streams:
            streams.append(self.stream(known))
        header = Header(fingerprint, *signal, tuple(streams), original, metadata)
        check(header, self.limits)
        return header

    def number(self, what: str) -> int:
        return self.source.varint(what, LARGEST_INTEGER)

    def axes(self, what: str, axes: int, known: Shape) -> Shape:
        return (known + tuple(self.number(what) for _ in range(axes - len(known))))[:axes]

    def signal(self, axes: int, known: Shape) -> Original:
        return Original(self.number("the rate"), self.number("the channels"), self.axes("the shape", axes, known))

    def stream(self, known: Shape) -> StreamSpec:
        name = self.source.take(self.source.varint("a name's length", bounds.NAME_BYTES), "a name")
        form = self.source.varint("a stream's form", 4 * self.limits.codebooks + bounds.AXES)
        coder = self.number("a coder")
        prior = b"" if coder == FIXED_WIDTH else self.source.take(FINGERPRINT_BYTES, "a prior's fingerprint")
        grid = self.axes("a grid", form % 4, known)
        alphabet: list[int] = []
        for _ in range(form // 4):
            count = self.number("a run of codebooks")
            within("codebooks", len(alphabet) + count, self.limits.codebooks, 1, "codebooks")
            size = self.number("an alphabet's size") + 1
            if count == 0 or alphabet[-1:] == [size]:
                raise CodecError("alphabet sizes are not in their shortest form: the file is forged")
            alphabet += [size] * count
        if name == MAIN_STREAM.encode():
            raise CodecError(f"the name {MAIN_STREAM!r} is not in its shortest form: the file is forged")
        return StreamSpec(name.decode("ascii", "replace") or MAIN_STREAM, tuple(alphabet), grid, coder, prior)
