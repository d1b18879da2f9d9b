"""Writes and reads .ncs files: a header, chunks that stand alone, an end record. docs/format.md has every byte."""

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise

import numpy as np

from neuralcodecs.bitstream.chunks import (
    CHUNK_MARKER,
    CRC_BYTES,
    Chunk,
    ChunkInfo,
    check_chunk,
    encode_chunk,
    read_chunk_info,
    read_payload,
    read_values,
)
from neuralcodecs.bitstream.header import Header, check
from neuralcodecs.bitstream.header_bytes import decode_header, encode_header
from neuralcodecs.bitstream.limits import DEFAULT_LIMITS, SYMBOLS_AT_ONCE, Limits
from neuralcodecs.bitstream.payloads import NO_CODERS, Coders, Values, check_coders, check_packed
from neuralcodecs.bitstream.progress import END_MARKER, Progress, encode_end, read_end
from neuralcodecs.bitstream.salvage import Salvaged, find_chunks
from neuralcodecs.bitstream.wire import ByteSink, ByteSource, Source, write_all
from neuralcodecs.errors import CodecError


def write(
    file: ByteSink,
    header: Header,
    chunks: Iterable[Chunk],
    limits: Limits = DEFAULT_LIMITS,
    coders: Coders = NO_CODERS,
) -> None:
    """Write a whole file of known length; ``file`` need not seek and one chunk is in memory at a time."""
    writer = Writer(file, header, limits, coders)
    for chunk in chunks:
        writer.append(chunk)
    writer.finish()


class Writer:
    """Writes a file chunk by chunk, in constant memory and without seeking.

    A header whose shape and grids begin with UNKNOWN starts a file of unknown length; ``finish`` then tells it.
    Raises CodecError for whatever a reader with the same limits would refuse. What it has written by then is not a
    valid file: give it a temporary one.

    ``coders``: of the streams that are not of fixed width, as the header says of them.
    """

    def __init__(
        self, file: ByteSink, header: Header, limits: Limits = DEFAULT_LIMITS, coders: Coders = NO_CODERS
    ) -> None:
        check_coders(header, coders)
        data = encode_header(header, limits)
        self._file = file
        self._limits = limits
        self._coders = coders
        self._seed = zlib.crc32(data)
        self._progress = Progress(header, limits)
        self.size = 0
        self._put(data + self._seed.to_bytes(CRC_BYTES, "little"))

    def append(self, chunk: Chunk) -> ChunkInfo:
        """Write the next chunk; returns where it went."""
        info, data = encode_chunk(self._progress.header, chunk, self._seed, self.size, self._coders)
        check_chunk(self._progress.header, info, self._limits)
        self._progress.add(info)
        self._put(data)
        return info

    def finish(self, length: int | None = None, original_length: int | None = None) -> Header:
        """End the file; returns its header with every length known. Does not close ``file``.

        ``length`` and ``original_length``: first axis of the signal's and of the original's shape, in a file that was
        begun without them.
        """
        header = self._progress.header
        if header.is_open:
            given = (length,) if header.original is None else (length, original_length)
            known = tuple(n for n in given if n is not None)
            if len(known) < len(given):
                raise CodecError("the file was begun with its length unknown: finish it with its length")
            closed = header.closed((*known, *self._progress.stops))
            check(closed, self._limits)
        elif not self._progress.is_complete:
            raise CodecError(f"chunks end at {self._progress.stops}, the streams at {header.totals}: append the rest")
        else:
            closed = header
        if self._progress.needs_end:
            self._put(encode_end(self._progress, closed, self._seed))
        return closed

    def _put(self, data: bytes) -> None:
        write_all(self._file, data)
        self.size += len(data)


class Reader:
    """Reads a file: its header at once, its chunks on demand.

    Iterating reads the chunks in order, also from a pipe, one in memory at a time. In a file that can seek ``chunks``
    and ``read`` give random access. ``header`` is open (``header.is_open``) for a file that was written before its
    length was known until the end has been reached, by iterating or by ``chunks``.
    Every fault of the file is a CodecError; chunks that were yielded before it are good.
    Chunks of a file with entropy-coded streams can be read once ``use`` has given their coders; all else without.
    """

    def __init__(self, file: ByteSource, limits: Limits = DEFAULT_LIMITS) -> None:
        self._source = Source(file)
        self._limits = limits
        self._coders = NO_CODERS
        self.header, self._seed = decode_header(self._source, limits)
        self._begun = self.header
        self._first = self._source.offset

    def use(self, coders: Coders) -> None:
        """Decode payloads with these; CodecError unless they are what the header names."""
        check_coders(self.header, coders)
        self._coders = coders

    def checked(self) -> Iterator[ChunkInfo]:
        """Every chunk in order, its CRC and packed symbols checked: what can be told of payloads without a model."""
        for index, info in enumerate(self._walk()):
            with _in_chunk(index):
                check_packed(self._begun, info.counts, info.sizes, read_payload(self._source, info))
            yield info

    def __iter__(self) -> Iterator[Chunk]:
        check_coders(self._begun, self._coders)
        for index, info in enumerate(self._walk()):
            with _in_chunk(index):
                chunk = read_values(self._source, self._begun, info, self._coders)
            yield chunk

    @cached_property
    def chunks(self) -> tuple[ChunkInfo, ...]:
        """Every chunk's place and range, found by hopping from head to head; payloads are neither read nor checked."""
        return tuple(self._walk())

    def read(self, info: ChunkInfo) -> Chunk:
        """One chunk, given an entry of ``chunks`` or of what ``salvage`` found."""
        check_coders(self._begun, self._coders)
        self._go_to(info)
        return read_values(self._source, self._begun, info, self._coders)

    def payloads(self, info: ChunkInfo) -> tuple[bytes, ...]:
        """The coded bytes of one chunk, those of each stream, its CRC checked."""
        self._go_to(info)
        whole, ends = read_payload(self._source, info), np.cumsum((0, *info.sizes)).tolist()
        return tuple(whole[start:stop] for start, stop in pairwise(ends))

    def covering(self, start: int, stop: int) -> tuple[ChunkInfo, ...]:
        """The chunks that hold positions ``start`` to ``stop`` (exclusive) of the main stream's first axis."""
        first = bisect_right(self.chunks, start, key=lambda info: info.stops[0])
        last = bisect_left(self.chunks, stop, key=lambda info: info.starts[0])
        return self.chunks[first:last]

    def read_all(self, symbols: int = SYMBOLS_AT_ONCE) -> tuple[Values, ...]:
        """Whole values ``(q, *grid)`` of every stream; CodecError for more than ``symbols`` symbols of all together."""
        if self._begun.is_open and self._source.size is not None:
            _ = self.chunks  # the end record's lengths, before any memory is taken
        streams = self._begun.streams
        if not self.header.is_open:
            _check_at_once(sum(s.symbols(s.grid[0]) for s in self.header.streams), symbols)
        parts = [[np.zeros((len(s.alphabet), 0, *s.grid[1:]), np.int64)] for s in streams]
        read = 0
        for chunk in self:
            read += sum(values.size for values in chunk.values)
            _check_at_once(read, symbols)
            for part, values in zip(parts, chunk.values, strict=True):
                part.append(values)
        return tuple(np.concatenate(part, axis=1) for part in parts)

    def salvage(self) -> Salvaged:
        """The chunks of a damaged file whose CRC holds, to be read with ``read``, and the ranges that are lost."""
        check_coders(self._begun, self._coders)
        self._source.seek(self._first)
        return find_chunks(self._source, self._begun, self._seed, self._limits)

    def _walk(self) -> Iterator[ChunkInfo]:
        """Heads of the chunks in order; when one is yielded the source stands at its payload."""
        progress = Progress(self._begun, self._limits)
        offset = self._first
        while not progress.is_complete or progress.needs_end:
            with _in_chunk(progress.chunks):
                marker = self._marker(offset)
                if marker == END_MARKER:
                    end = read_end(self._source, self._begun, self._limits)
                    end.confirm(progress)
                    self.header = end.header
                    break
                info = read_chunk_info(self._source, self._begun, self._limits)
                progress.add(info)
            yield info
            offset = info.end
            self._source.seek(offset)
        self._source.end()

    def _go_to(self, info: ChunkInfo) -> None:
        marker = self._marker(info.offset)
        if marker != CHUNK_MARKER or read_chunk_info(self._source, self._begun, self._limits) != info:
            raise CodecError(f"another chunk than expected begins at byte {info.offset}: the file has changed")

    def _marker(self, offset: int) -> bytes:
        self._source.seek(offset)
        self._source.crc = self._seed
        marker = self._source.take(len(CHUNK_MARKER), "a marker")
        if marker not in (CHUNK_MARKER, END_MARKER):
            raise CodecError(f"byte {offset} has no marker of a chunk or of the end: the file is damaged")
        return marker


@contextmanager
def _in_chunk(index: int) -> Iterator[None]:
    try:
        yield
    except CodecError as error:
        raise CodecError(f"chunk {index}: {error} (salvage keeps intact chunks)") from None


def _check_at_once(symbols: int, most: int) -> None:
    if symbols > most:
        raise CodecError(
            f"{symbols} symbols or more, {most} may be read at once: read by chunk or pass a higher number"
        )
