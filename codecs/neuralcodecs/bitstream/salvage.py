"""Finds the intact chunks of a damaged file, whatever lies between them."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from neuralcodecs.bitstream.chunks import CHUNK_MARKER, ChunkInfo, read_chunk_info, read_payload
from neuralcodecs.bitstream.header import Header, Shape
from neuralcodecs.bitstream.limits import DEFAULT_LIMITS, Limits
from neuralcodecs.bitstream.progress import END_MARKER, read_end
from neuralcodecs.bitstream.wire import BLOCK, Source
from neuralcodecs.errors import CodecError

# work spent on places that look like a chunk and are none, before a file is given up: a forged file can consist of them
FALSE_STARTS = 2**14
FALSE_BYTES = 8

_MARKER = re.compile(b"|".join(map(re.escape, (CHUNK_MARKER, END_MARKER))))


class Damage(NamedTuple):
    """A range of positions that no intact chunk covers, along the first grid axis of every stream."""

    starts: Shape
    stops: Shape


class Salvaged(NamedTuple):
    """What is left of a file: its header, the intact chunks and the damaged ranges, each in order.

    The header of a file that was written before its length was known stays open where its end record is lost; what
    the last intact chunk was followed by is then unknown and no damaged range.
    """

    header: Header
    chunks: tuple[ChunkInfo, ...]
    damaged: tuple[Damage, ...]


def find_chunks(source: Source, header: Header, seed: int, limits: Limits = DEFAULT_LIMITS) -> Salvaged:
    """Search a file from where ``source`` stands, after the header, for chunks whose CRC holds.

    Where no intact chunk begins the search goes on at the next marker, so that damage to a length costs one chunk.
    CodecError when the file cannot seek or consists of false starts.
    """
    if source.size is None:
        raise CodecError("this input cannot seek: write it to a file to salvage it")
    chunks: list[ChunkInfo] = []
    closed = header
    offset = source.offset
    false_starts = false_bytes = 0
    while offset < source.size:
        source.seek(offset)
        source.crc = seed
        try:
            found, end = _read_part(source, header, limits)
        except CodecError:
            false_starts += 1
            false_bytes += source.offset - offset
            if false_starts > FALSE_STARTS or false_bytes > FALSE_BYTES * source.size + BLOCK:
                raise CodecError(f"more than {false_starts} damaged chunks: this file cannot be salvaged") from None
            offset = source.find(_MARKER, offset + 1)
            continue
        chunks += found
        closed = end or closed
        offset = source.offset
        if len(chunks) > limits.chunks:
            raise CodecError(f"the file has more than {limits.chunks} chunks: raise Limits.chunks to allow it")
    return _ordered(closed, chunks)


def _read_part(source: Source, header: Header, limits: Limits) -> tuple[list[ChunkInfo], Header | None]:
    """The chunk that begins here, or the header as the end record completes it."""
    marker = source.take(len(CHUNK_MARKER), "a marker")
    if marker == END_MARKER:
        return [], read_end(source, header, limits).header
    if marker != CHUNK_MARKER:
        raise CodecError("no chunk begins here")
    info = read_chunk_info(source, header, limits)
    read_payload(source, info)
    return [info], None


def _ordered(header: Header, chunks: Iterable[ChunkInfo]) -> Salvaged:
    """Chunks by position, duplicates and overlaps left out, and the ranges between them."""
    kept, damaged = [], []
    stops: Shape = (0,) * len(header.streams)
    for info in sorted(chunks, key=lambda info: (info.starts, info.offset)):
        overlaps = any(start < stop for start, stop in zip(info.starts, stops, strict=True))
        too_far = not header.is_open and any(s > total for s, total in zip(info.stops, header.totals, strict=True))
        if overlaps or too_far:
            continue
        if info.starts != stops:
            damaged.append(Damage(stops, info.starts))
        kept.append(info)
        stops = info.stops
    if not header.is_open and stops != header.totals:
        damaged.append(Damage(stops, header.totals))
    return Salvaged(header, tuple(kept), tuple(damaged))
