"""Golden files that every version refuses: one for each rule of docs/format.md, all CRCs right but in those on CRCs."""

import io
from collections.abc import Iterator
from functools import partial

import numpy as np
from bitstream_forgery import ChunkParts, Parts, join, reseal, take_apart

from neuralcodecs.bitstream import Header, StreamSpec, Writer, split
from neuralcodecs.bitstream.wire import varint

MODEL = bytes.fromhex("c0dec00123456789")
RATE, SHAPE, ONE_RUN = varint(24000), varint(1500), bytes.fromhex("02e707")
STREAM = bytes.fromhex("00050005") + ONE_RUN  # "codes", 1 run, 1 axis; coder 0; 5 positions; 2 codebooks of 1000


def bad_files() -> dict[str, tuple[bytes, str]]:
    """Bytes by name, with the start of the message."""
    return {name: (data, message) for name, data, message in (*_headers(), *_metadata(), *_chunks(), *_ends())}


def _base(length: int | None = 3, offset: int = 0) -> Parts:
    """A recording of 5 positions in two chunks, or in one."""
    header = Header(MODEL, 24000, 1, (1500,), (StreamSpec("codes", (1000, 1000), (5,)),))
    values = (np.arange(10).reshape(2, 5) * 83 + offset) % 1000
    file = io.BytesIO()
    writer = Writer(file, header)
    for chunk in split(header, [values], length):
        writer.append(chunk)
    writer.finish()
    return take_apart(file.getvalue())


def _header(
    flags: int = 8, rate: bytes = RATE, channels: bytes = b"\1", shape: bytes = SHAPE, streams: bytes = STREAM
) -> bytes:
    return reseal(_base()._replace(body=MODEL + varint(flags) + rate + channels + shape + streams))


def _headers() -> Iterator[tuple[str, bytes, str]]:
    base = _base()
    whole = join(base)
    yield "empty", b"", "the file ends inside the magic number"
    yield "magic", b"NCT" + whole[3:], "this is not an .ncs file"
    yield "version-2", b"NCS\2" + whole[4:], "the file has format version 2"
    yield "header-truncated", whole[:20], "the file ends inside the header"
    long = base.start[:4] + varint(2**17 + 1) + base.body
    yield "header-too-long", long, "the header's length is 131073, more than 131072"
    yield "header-crc", join(base._replace(crc=base.crc[::-1])), "the header is damaged: its CRC-32 differs"
    yield "varint-not-shortest", _header(channels=b"\x81\0"), "the channels is not an integer in its shortest form"
    yield "varint-of-10-bytes", _header(channels=b"\x81" * 9 + b"\1"), "the channels is not an integer in its shortest"
    yield "axes-0", _header(flags=0, shape=b""), "axes of signal: 0 is outside 1 to 3"
    yield "axes-4", _header(flags=32, shape=SHAPE * 4), "the header's flags is 32, more than 31"
    yield "rate", _header(rate=varint(2**24 + 1)), "rate: 16777217 is outside 0 to 16777216"
    yield "channels-0", _header(channels=b"\0"), "channels: 0 is outside 1 to 64"
    yield "width-0", _header(flags=16, shape=SHAPE + b"\0"), "signal of (1500, 0): the first axis must be known"
    yield "a-day-and-a-second", _header(shape=varint(24000 * 86401)), "seconds: 86401 is outside 0 to 86400"
    yield "no-stream", _header(streams=b""), "streams: 0 is outside 1 to 16"
    yield "streams-of-one-name", _header(streams=STREAM * 2), "two streams have the same name"
    yield "stream-name", _header(streams=b"\3a/b" + STREAM[1:]), "stream name 'a/b': use 1 to 32 letters"
    yield (
        "stream-name-not-shortest",
        _header(streams=b"\5codes" + STREAM[1:]),
        "the name 'codes' is not in its shortest",
    )
    yield "stream-name-too-long", _header(streams=varint(33) + b"a" * 33 + STREAM[1:]), "a name's length is 33, more"
    runs = partial(bytes.__add__, bytes.fromhex("00090005"))
    yield "runs-equal", _header(streams=runs(ONE_RUN * 2)), "alphabet sizes are not in their shortest form"
    yield (
        "run-empty",
        _header(streams=runs(ONE_RUN + bytes.fromhex("0001"))),
        "alphabet sizes are not in their shortest",
    )
    yield "alphabet", _header(streams=STREAM[:5] + varint(2**32)), "alphabet of 'codes': 4294967297 is outside 1 to"
    row = bytes.fromhex("00060005") + varint(2**16 + 1) + ONE_RUN
    yield "row-of-a-grid", _header(streams=row), "positions of 'codes' at one index of the first axis: 65537"
    yield "coder", _header(streams=b"\0\5\1" + STREAM[3:]), "the file ends inside a prior's fingerprint"


def _metadata() -> Iterator[tuple[str, bytes, str]]:
    faults = {
        "not-json": (b"{'a':1}", "metadata is not valid JSON"),
        "no-object": (b"[1]", "metadata is not a JSON object"),
        "key-twice": (b'{"a":1,"a":2}', "metadata is not valid JSON: 'a key is given twice'"),
        "too-deep": (b'{"a":' + b"[" * 8 + b"]" * 8 + b"}", "metadata holds values nested deeper than 8"),
        "not-finite": (b'{"a":1e999}', "metadata holds the number inf"),
        "control": (b'{"a":"\\u001b"}', "metadata holds a control character"),
        "large-integer": (b'{"a":9223372036854775808}', "metadata holds an integer of more than 63 bits"),
    }
    for name, (text, message) in faults.items():
        yield f"metadata-{name}", _header(flags=10, shape=SHAPE + varint(len(text)) + text), message


def _chunks() -> Iterator[tuple[str, bytes, str]]:
    base, one = _base(), _base(None)
    first, second = base.chunks

    def forged(*chunks: ChunkParts) -> bytes:
        return reseal(base._replace(chunks=chunks))

    def head(start: int, count: int, size: int) -> ChunkParts:
        return first._replace(head=b"\xcbC" + varint(start) + varint(count) + varint(size))

    yield "chunk-marker", forged(first._replace(head=b"\xcbD" + first.head[2:])), "chunk 0: byte 31 has no marker"
    yield "chunk-empty", forged(head(0, 0, 0)), "chunk 0: it holds no position of any stream"
    yield "chunk-size", forged(head(0, 3, 9)), "chunk 0: 9 bytes of 'codes' for 3 positions"
    yield "chunk-beyond-the-grid", forged(head(0, 6, 15)), "chunk 0: it ends at 6 of 'codes', which has 5"
    yield "chunk-positions", forged(head(0, 2**16 + 1, 163843)), "chunk 0: the count of 'codes' is 65537, more than"
    many = base._replace(body=base.body[: -len(STREAM)] + bytes.fromhex("000500") + varint(2**16) + b"\x41\0")
    whole = head(0, 2**16, 0)._replace(payload=b"")
    yield "chunk-symbols", reseal(many._replace(chunks=(whole,))), "chunk 0: 4259840 symbols in a chunk, 4194304 fit"
    yield (
        "chunk-gap",
        forged(first, second._replace(head=b"\xcbC\4\1\3")),
        "chunk 1: it starts at (4,) where (3,) is due",
    )
    yield "chunk-again", forged(first, first), "chunk 1: it starts at (0,) where (3,) is due"
    damaged = first._replace(payload=bytes([first.payload[0] ^ 1]) + first.payload[1:])
    yield "chunk-crc", join(base._replace(chunks=(damaged, second))), "chunk 0: its CRC-32 differs"
    yield "chunk-truncated", join(one)[:-1], "chunk 0: the file ends"
    ones = first._replace(payload=b"\xff" * 7 + b"\x0f")
    yield (
        "symbol-outside-its-alphabet",
        forged(ones, second),
        "chunk 0: codebook 0 holds 1023, its alphabet ends at 999",
    )
    unused = first._replace(payload=first.payload[:-1] + bytes([first.payload[-1] | 0x80]))
    yield "unused-bits", forged(unused, second), "chunk 0: unused bits after the last symbol are not zero"


def _ends() -> Iterator[tuple[str, bytes, str]]:
    base, one, other = _base(), _base(None), _base(offset=1)
    missing = join(base._replace(end=b"", digest=b"", end_crc=b""))
    yield "end-missing", missing, "chunk 2: the file ends inside a marker"
    yield "end-count", reseal(base._replace(end=b"\xcbE\3")), "chunk 2: the chunks are not those that the end record"
    swapped = base._replace(chunks=(base.chunks[0], other.chunks[1]))
    yield "chunk-of-another-file", join(swapped), "chunk 2: the chunks are not those that the end record counts"
    yield "end-crc", join(base._replace(end_crc=base.end_crc[::-1])), "chunk 2: the end record is damaged: its CRC-32"
    yield "end-too-early", reseal(base._replace(chunks=base.chunks[:1])), "chunk 1: the chunks are not those that"
    yield "bytes-after-the-end", join(base) + b"\0", "bytes follow the end of the file at byte"
    yield "end-after-one-chunk", reseal(one._replace(end=b"\xcbE\1")), "bytes follow the end of the file at byte"
