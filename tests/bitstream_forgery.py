"""Takes a file apart and puts it together again, with its CRCs as they were or made right."""

import io
import zlib
from functools import lru_cache
from typing import NamedTuple

from neuralcodecs.bitstream import Reader
from neuralcodecs.bitstream.wire import varint

MAGIC_AND_VERSION = 4
CRC = 4


class ChunkParts(NamedTuple):
    head: bytes
    crc: bytes
    payload: bytes


class Parts(NamedTuple):
    """All bytes of a file; the end record's, all empty where there is none, up to its digest, digest and CRC."""

    start: bytes
    body: bytes
    crc: bytes
    chunks: tuple[ChunkParts, ...]
    end: bytes
    digest: bytes
    end_crc: bytes


@lru_cache(256)
def take_apart(data: bytes) -> Parts:
    infos = Reader(io.BytesIO(data)).chunks
    chunks = tuple(
        ChunkParts(data[i.offset : i.payload - CRC], data[i.payload - CRC : i.payload], data[i.payload : i.end])
        for i in infos
    )
    first, tail = infos[0].offset, data[infos[-1].end :]
    # the body's length takes one byte up to 127
    begin = MAGIC_AND_VERSION + (1 if first - CRC - MAGIC_AND_VERSION - 1 < 128 else 2)
    header = data[:begin], data[begin : first - CRC], data[first - CRC : first]
    return Parts(*header, chunks, tail[: -2 * CRC], tail[-2 * CRC : -CRC], tail[-CRC:])


def join(parts: Parts) -> bytes:
    chunks = b"".join(b"".join(chunk) for chunk in parts.chunks)
    return parts.start + parts.body + parts.crc + chunks + parts.end + parts.digest + parts.end_crc


def reseal(parts: Parts) -> bytes:
    """The file with the header's length, every CRC and the digest made right."""
    header = parts.start[:MAGIC_AND_VERSION] + varint(len(parts.body)) + parts.body
    seed = zlib.crc32(header)
    data = header + seed.to_bytes(CRC, "little")
    digest = 0
    for chunk in parts.chunks:
        crc = zlib.crc32(chunk.payload, zlib.crc32(chunk.head, seed)).to_bytes(CRC, "little")
        data += chunk.head + crc + chunk.payload
        digest = zlib.crc32(crc, digest)
    if parts.end:
        record = parts.end + digest.to_bytes(CRC, "little")
        data += record + zlib.crc32(record, seed).to_bytes(CRC, "little")
    return data
