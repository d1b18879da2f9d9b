"""What has passed of a file, counted alike by its writer and its reader, and the end record that confirms it."""

import zlib
from typing import NamedTuple

from neuralcodecs.bitstream.chunks import CRC_BYTES, ChunkInfo
from neuralcodecs.bitstream.header import Header, check
from neuralcodecs.bitstream.limits import DEFAULT_LIMITS, Limits
from neuralcodecs.bitstream.wire import LARGEST_INTEGER, Source, varint
from neuralcodecs.errors import CodecError

END_MARKER = b"\xcbE"


class EndRecord(NamedTuple):
    """What the end of a file says of all of it: its chunks, their digest, and the header with every length known."""

    chunks: int
    digest: int
    header: Header

    def confirm(self, progress: "Progress") -> None:
        """CodecError unless the chunks that passed are exactly those that were written."""
        found = (progress.chunks, progress.digest, progress.stops)
        if found != (self.chunks, self.digest, self.header.totals):
            raise CodecError("the chunks are not those that the end record counts: some are missing or of another file")


class Progress:
    """Follows the chunks of one file: each must begin, in every stream, where the one before it stopped.

    ``digest`` is the CRC-32 of the CRC fields of all chunks in order: it tells files with equal headers apart, so that
    a chunk of one is not taken for a chunk of the other.
    """

    def __init__(self, header: Header, limits: Limits = DEFAULT_LIMITS) -> None:
        self.header = header
        self.limits = limits
        self.stops: tuple[int, ...] = (0,) * len(header.streams)
        self.chunks = 0
        self.digest = 0

    @property
    def is_complete(self) -> bool:
        """Whether every stream has its full length; never true of an open file, whose end record says so."""
        return self.stops == self.header.totals

    @property
    def needs_end(self) -> bool:
        """Whether an end record follows the last chunk; a file of known length and one chunk has nothing to confirm."""
        return self.header.is_open or self.chunks > 1

    def add(self, info: ChunkInfo) -> None:
        if info.starts != self.stops:
            raise CodecError(
                f"it starts at {info.starts} where {self.stops} is due: chunks are missing or out of order"
            )
        if self.chunks == self.limits.chunks:
            raise CodecError(f"the file has more than {self.limits.chunks} chunks: raise Limits.chunks to allow it")
        self.stops = info.stops
        self.chunks += 1
        self.digest = zlib.crc32(info.crc.to_bytes(CRC_BYTES, "little"), self.digest)


def encode_end(progress: Progress, closed: Header, seed: int) -> bytes:
    """The end record of a file whose header, with its lengths known, is ``closed``."""
    record = END_MARKER + varint(progress.chunks)
    if progress.header.is_open:
        record += b"".join(map(varint, closed.lengths))
    record += progress.digest.to_bytes(CRC_BYTES, "little")
    return record + zlib.crc32(record, seed).to_bytes(CRC_BYTES, "little")


def read_end(source: Source, header: Header, limits: Limits = DEFAULT_LIMITS) -> EndRecord:
    """The end record, after its marker has been read; CodecError when its CRC differs or its lengths are too large."""
    chunks = source.varint("the end record", LARGEST_INTEGER)
    if header.is_open:
        header = header.closed(tuple(source.varint("the end record", LARGEST_INTEGER) for _ in header.lengths))
    digest = int.from_bytes(source.take(CRC_BYTES, "the end record"), "little")
    source.check("the end record")
    check(header, limits)
    return EndRecord(chunks, digest, header)
