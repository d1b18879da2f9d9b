"""One chunk: a range of every stream, decodable without the chunks around it."""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from neuralcodecs.bitstream import limits as bounds
from neuralcodecs.bitstream.header import FIXED_WIDTH, Header
from neuralcodecs.bitstream.limits import DEFAULT_LIMITS, Limits
from neuralcodecs.bitstream.payloads import NO_CODERS, Coders, Values, decode_payloads, encode_payloads
from neuralcodecs.bitstream.wire import LARGEST_INTEGER, Source, varint
from neuralcodecs.errors import CodecError

CHUNK_MARKER = b"\xcbC"
CRC_BYTES = 4


class Chunk(NamedTuple):
    """Values of one range of the first grid axis, for every stream in the header's order.

    ``starts``: where the range begins in each stream. ``values``: int64 ``(q, count, *rest of the grid)`` each; a
    stream may have a count of 0.
    """

    starts: tuple[int, ...]
    values: tuple[Values, ...]


class ChunkInfo(NamedTuple):
    """Where a chunk is and what it covers, read without its payload.

    ``offset`` and ``payload``: first byte of the chunk and of its payload, counted from the start of the file.
    ``starts``, ``counts``: range of the first grid axis of each stream. ``sizes``: payload bytes of each stream.
    """

    offset: int
    payload: int
    starts: tuple[int, ...]
    counts: tuple[int, ...]
    sizes: tuple[int, ...]
    crc: int

    @property
    def stops(self) -> tuple[int, ...]:
        return tuple(start + count for start, count in zip(self.starts, self.counts, strict=True))

    @property
    def end(self) -> int:
        """The byte after the chunk."""
        return self.payload + sum(self.sizes)


def encode_chunk(
    header: Header, chunk: Chunk, seed: int, offset: int = 0, coders: Coders = NO_CODERS
) -> tuple[ChunkInfo, bytes]:
    """The chunk as bytes for a file whose header has the CRC ``seed``, and what a reader will find there."""
    if not len(chunk.starts) == len(chunk.values) == len(header.streams):
        raise CodecError(f"a chunk of {len(chunk.values)} streams for a header of {len(header.streams)}")
    payloads = encode_payloads(header, chunk.values, coders)
    counts = tuple(values.shape[1] for values in chunk.values)
    sizes = tuple(map(len, payloads))
    head = CHUNK_MARKER + b"".join(
        varint(start) + varint(count) + varint(size)
        for start, count, size in zip(chunk.starts, counts, sizes, strict=True)
    )
    payload = b"".join(payloads)
    crc = zlib.crc32(payload, zlib.crc32(head, seed))
    info = ChunkInfo(offset, offset + len(head) + CRC_BYTES, chunk.starts, counts, sizes, crc)
    return info, head + crc.to_bytes(CRC_BYTES, "little") + payload


def read_chunk_info(source: Source, header: Header, limits: Limits = DEFAULT_LIMITS) -> ChunkInfo:
    """A chunk's head, after its marker has been read; leaves ``source`` at the payload. The CRC is not checked yet."""
    offset = source.offset - len(CHUNK_MARKER)
    fields = []
    for stream in header.streams:
        start = source.varint(f"the start in {stream.name!r}", LARGEST_INTEGER)
        count = source.varint(f"the count of {stream.name!r}", bounds.CHUNK_POSITIONS)
        size = source.varint(f"the payload size of {stream.name!r}", LARGEST_INTEGER)
        fields.append((start, count, size))
    starts, counts, sizes = zip(*fields, strict=True)
    crc = int.from_bytes(_keeping_crc(source), "little")
    info = ChunkInfo(offset, source.offset, starts, counts, sizes, crc)
    check_chunk(header, info, limits)
    return info


def read_values(source: Source, header: Header, info: ChunkInfo, coders: Coders = NO_CODERS) -> Chunk:
    """The chunk whose head has just been read from ``source``; CodecError when its CRC or a value is wrong."""
    payload = read_payload(source, info)
    return Chunk(info.starts, decode_payloads(header, info.counts, info.sizes, payload, coders))


def read_payload(source: Source, info: ChunkInfo) -> bytes:
    """The coded bytes of all streams; CodecError when the chunk's CRC differs."""
    payload = source.take(sum(info.sizes), "the payload")
    if source.crc != info.crc:
        raise CodecError("its CRC-32 differs: the file is damaged")
    return payload


def split(
    header: Header, values: Sequence[Values], length: int | None = None, side_lengths: Sequence[int] = ()
) -> Iterator[Chunk]:
    """Cut whole streams, ``(q, *grid)`` each, into chunks.

    ``length``: indices of the main stream's first axis (frames, rows) per chunk; by default as many as fit.
    ``side_lengths``: the same for each stream after it, for those that run along with it (a scale per segment); without
    them all of every side stream goes into the first chunk.
    Raises CodecError for a length that no chunk can have.
    """
    main = header.streams[0]
    most = min(bounds.CHUNK_POSITIONS // main.row, bounds.CHUNK_SYMBOLS // (main.row * len(main.alphabet)))
    totals = [array.shape[1] for array in values]
    length = min(most, max(totals[0], 1)) if length is None else length
    if not 1 <= length <= most:
        raise CodecError(f"chunks of {length} positions of {main.name!r}: a chunk may have 1 to {most}")
    lengths = (length, *(side_lengths or totals[1:]))
    if not len(lengths) == len(totals) == len(header.streams):
        raise CodecError(f"{len(lengths)} lengths and {len(totals)} arrays for {len(header.streams)} streams")
    chunks = max(-(-totals[0] // length), 1 if any(totals) else 0)
    for index in range(chunks):
        starts = tuple(min(index * step, total) for step, total in zip(lengths, totals, strict=True))
        stops = [min((index + 1) * step, total) for step, total in zip(lengths, totals, strict=True)]
        if index == chunks - 1:
            stops = totals
        ranges = zip(values, starts, stops, strict=True)
        yield Chunk(starts, tuple(array[:, start:stop] for array, start, stop in ranges))


def check_chunk(header: Header, info: ChunkInfo, limits: Limits = DEFAULT_LIMITS) -> None:
    """CodecError for a chunk that is empty, leaves its grid or is too large to be decoded in bounded memory."""
    if not any(info.counts):
        raise CodecError("it holds no position of any stream: the file is damaged")
    for stream, stop, count, size in zip(header.streams, info.stops, info.counts, info.sizes, strict=True):
        positions = count * stream.row
        if positions > bounds.CHUNK_POSITIONS:
            raise CodecError(
                f"{positions} positions of {stream.name!r}, {bounds.CHUNK_POSITIONS} fit: use smaller chunks"
            )
        if not header.is_open and stop > stream.grid[0]:
            raise CodecError(f"it ends at {stop} of {stream.name!r}, which has {stream.grid[0]}: the file is damaged")
        most = bounds.SYMBOL_BYTES * stream.symbols(count) + bounds.CODER_BYTES
        if size > most or (stream.coder == FIXED_WIDTH and size != stream.payload_bytes(count)):
            raise CodecError(f"{size} bytes of {stream.name!r} for {positions} positions: the file is damaged")
    symbols = sum(stream.symbols(count) for stream, count in zip(header.streams, info.counts, strict=True))
    if symbols > bounds.CHUNK_SYMBOLS:
        raise CodecError(f"{symbols} symbols in a chunk, {bounds.CHUNK_SYMBOLS} fit: use smaller chunks")
    symbols = sum(stream.symbols(stop) for stream, stop in zip(header.streams, info.stops, strict=True))
    if header.is_open and symbols > limits.symbols:
        raise CodecError(f"more than {limits.symbols} symbols: raise Limits.symbols to allow it")


def _keeping_crc(source: Source) -> bytes:
    """A chunk's CRC field, which is not part of what it protects."""
    crc = source.crc
    field = source.take(CRC_BYTES, "the chunk's CRC")
    source.crc = crc
    return field
