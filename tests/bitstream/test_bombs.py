"""Small files that claim to be huge are refused before time or memory is spent on them."""

import io
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest
from bitstream_examples import FINGERPRINT, audio, decode, example, image
from bitstream_forgery import ChunkParts, reseal, take_apart

from neuralcodecs.bitstream import Header, Limits, StreamSpec, Writer
from neuralcodecs.bitstream.wire import varint
from neuralcodecs.errors import CodecError

HUGE = 2**31
NO_LIMITS = Limits(*[2**62] * len(Limits._fields))


def headers() -> Iterator[tuple[str, Header]]:
    speech, picture = audio(1).header, image().header
    stream = speech.streams[0]
    yield "frames of the signal", replace(speech, shape=(HUGE,))
    yield "frames of the grid", replace(speech, streams=(replace(stream, grid=(HUGE,)),))
    yield "frames without bits", replace(speech, streams=(replace(stream, alphabet=(1,), grid=(HUGE,)),))
    yield "pixels", replace(picture, shape=(2**16, 2**15))
    yield "pixels of a video", replace(speech, shape=(100, 2**16, 2**15))
    yield "rows", replace(picture, streams=(StreamSpec("codes", (2,), (2**15, 2**16)),))
    yield "channels", replace(speech, channels=HUGE)
    yield "streams", replace(speech, streams=tuple(replace(stream, name=f"s{i}") for i in range(5000)))


def forgeries() -> Iterator[tuple[str, bytes]]:
    """What no writer writes, with right CRCs."""
    parts = take_apart(audio(2, chunk_seconds=1).data())
    last = parts.body.rindex(varint(8) + varint(1023))
    yield "codebooks", reseal(parts._replace(body=parts.body[:last] + varint(HUGE) + varint(1023)))
    yield "alphabet", reseal(parts._replace(body=parts.body[:last] + varint(8) + varint(2**62)))
    yield "chunks", reseal(parts._replace(end=parts.end[:2] + varint(HUGE)))
    for what, numbers in [("start", (HUGE, 75, 750)), ("count", (0, HUGE, 750)), ("size", (0, 75, HUGE))]:
        chunk = parts.chunks[0]._replace(head=b"\xcbC" + b"".join(map(varint, numbers)))
        yield f"chunk's {what}", reseal(parts._replace(chunks=(chunk, *parts.chunks[1:])))
    yield "header", parts.start[:4] + varint(HUGE) + parts.body
    yield "metadata", reseal(parts._replace(body=parts.body[:8] + b"\x0a\xc0\xbb\x01\x01\x01" + varint(HUGE)))
    header = Header(FINGERPRINT, 24000, 1, (5,), (StreamSpec("codes", (1,) * 64, (5,)),))
    without_bits = take_apart(example(header).open_data())
    heads = [b"\xcbC" + varint(i * 2**16) + varint(2**16) + varint(0) for i in range(21)]
    end = b"\xcbE" + varint(len(heads)) + varint(24000) + varint(len(heads) * 2**16)
    chunks = tuple(ChunkParts(head, b"", b"") for head in heads)
    yield "88 million symbols", reseal(without_bits._replace(chunks=chunks, end=end))


def bombs() -> Iterator[tuple[str, bytes]]:
    for name, header in headers():
        file = io.BytesIO()
        Writer(file, header, NO_LIMITS)
        yield name, file.getvalue()
    yield from forgeries()


def refuse(data: bytes) -> float:
    """Seconds of processor time until ``data`` was refused."""
    start = time.process_time()
    with pytest.raises(CodecError):
        decode(data)
    return time.process_time() - start


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in bombs()])
def test_bomb(data: bytes) -> None:
    """In less than 50 ms and 10 MB."""
    assert len(data) < 100_000
    assert min(refuse(data) for _ in range(3)) < 0.05
    tracemalloc.start()
    refuse(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000
