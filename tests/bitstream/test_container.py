"""The container: round trips, random access, pipes, writing before the length is known."""

import io
import os
import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from bitstream_examples import FINGERPRINT, Example, audio, decode, example, stereo
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralcodecs.bitstream import (
    UNKNOWN,
    Chunk,
    Header,
    Original,
    Reader,
    StreamSpec,
    Writer,
    split,
    write,
)
from neuralcodecs.errors import CodecError

SIZES = [1, 2, 3, 10, 256, 1000, 1024, 2**16, 2**24, 2**32 - 1, 2**32]


@st.composite
def stream_specs(draw: st.DrawFn, name: str) -> StreamSpec:
    alphabet = draw(st.lists(st.sampled_from(SIZES), min_size=1, max_size=4))
    runs = draw(st.integers(1, 3))
    grid = (draw(st.integers(0, 9)), *draw(st.lists(st.integers(1, 5), max_size=2)))
    return StreamSpec(name, tuple(alphabet * runs), grid)


@st.composite
def examples(draw: st.DrawFn) -> Example:
    names = draw(st.sampled_from([["codes"], ["z", "y"], ["semantic", "codes", "scale", "caption"]]))
    streams = tuple(draw(stream_specs(name)) for name in names)
    shape = (draw(st.integers(0, 3000)), *draw(st.lists(st.integers(1, 300), max_size=2)))
    rate = draw(st.sampled_from([1, 25, 24000, 48000] if len(shape) == 3 else [0, 24000]))
    original = draw(st.sampled_from([None, Original(rate and 44100, 2, (5, *shape[1:]))]))
    metadata = draw(st.sampled_from([None, {}, {"title": "ねこ\n", "n": [1, 2.5, None, True], "name": "x.flac"}]))
    header = Header(FINGERPRINT, rate, draw(st.integers(1, 64)), shape, streams, original, metadata)
    side_lengths = tuple(draw(st.integers(1, 9)) for _ in names[1:])
    return example(
        header, draw(st.integers(0, 2**32)), draw(st.integers(1, 9)), draw(st.sampled_from([(), side_lengths]))
    )


class Pipe(io.RawIOBase):
    """Bytes that cannot seek and come, or go, a few at a time."""

    def __init__(self, data: bytes = b"") -> None:
        self.source, self.sink = io.BytesIO(data), bytearray()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        return self.source.readinto(memoryview(buffer)[:7])

    def write(self, data: bytes) -> int:
        self.sink += bytes(data[:7])
        return len(data[:7])


@given(examples())
@settings(max_examples=80, deadline=None)
def test_round_trip(example: Example) -> None:
    for data in (example.data(), example.open_data()):
        assert example.equals(*decode(data))
        reader = Reader(Pipe(data))
        assert reader.header.is_open == (data == example.open_data())
        assert example.equals(*[values := reader.read_all(), reader.header][::-1])
        assert all(v.dtype == np.int64 for v in values)


@given(examples())
@settings(max_examples=50, deadline=None)
def test_chunks_stand_alone(example: Example) -> None:
    """Read in any order, and also through a file that does not begin at its first byte."""
    file = io.BytesIO(b"before" + example.data())
    file.seek(6)
    reader = Reader(file)
    for info in reversed(reader.chunks):
        chunk = reader.read(info)
        for start, stop, part, whole in zip(info.starts, info.stops, chunk.values, example.values, strict=True):
            assert np.array_equal(part, whole[:, start:stop])
    assert not reader.salvage().damaged and reader.salvage().chunks == reader.chunks


def test_pipe_that_takes_little_at_a_time() -> None:
    pipe, speech = Pipe(), audio(1)
    write(pipe, speech.header, split(speech.header, speech.values, 30))
    assert bytes(pipe.sink) == replace(speech, length=30).data()
    with pytest.raises(CodecError, match="cannot seek"):
        _ = Reader(Pipe(pipe.sink)).chunks
    with pytest.raises(CodecError, match="cannot seek"):
        Reader(Pipe(pipe.sink)).salvage()
    reader = Reader(Pipe(pipe.sink))
    reader.read_all()
    with pytest.raises(CodecError, match="cannot seek"):
        reader.read_all()


def test_no_positions_at_all() -> None:
    empty = audio(0)
    assert empty.values[0].shape == (8, 0)
    assert empty.equals(*decode(empty.data())) and empty.equals(*decode(empty.open_data()))
    captioned = example(Header(FINGERPRINT, 0, 3, (0,), (StreamSpec("z", (2,), (0,)), StreamSpec("c", (256,), (9,)))))
    assert captioned.equals(*decode(captioned.data()))


# random access


class CountingFile(io.BytesIO):
    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def test_seeking_reads_no_payload() -> None:
    speech = audio(600)
    file = CountingFile(speech.data())
    reader = Reader(file)
    assert [info.starts for info in reader.chunks] == [(750 * i,) for i in range(60)]
    assert file.taken < 60 * 20 + 64
    (info,) = reader.covering(12 * 75, 20 * 75)
    assert info == reader.chunks[1]
    file.taken = 0
    assert np.array_equal(reader.read(info).values[0], speech.values[0][:, 750:1500])
    assert file.taken < 7500 + 20


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [(0, 1, [0]), (749, 751, [0, 1]), (750, 1500, [1]), (0, 3000, [0, 1, 2, 3]), (2999, 9999, [3]), (3000, 3001, [])],
)
def test_covering(start: int, stop: int, expected: list[int]) -> None:
    reader = Reader(io.BytesIO(audio(40).data()))
    assert [reader.chunks.index(info) for info in reader.covering(start, stop)] == expected


def test_read_of_another_file() -> None:
    first, second = Reader(io.BytesIO(audio(20).data())), Reader(io.BytesIO(audio(20, seed=1).data()))
    with pytest.raises(CodecError, match="the file has changed"):
        first.read(second.chunks[1])


# writing before the length is known


def test_streaming_in_constant_memory() -> None:
    """13 minutes in chunks of 4 s through a pipe, both ends in this process: all symbols together would be 3.8 MB."""
    header = audio(1).header.closed((UNKNOWN, UNKNOWN))
    chunks, frames = 200, 300
    values = audio(4).values[0]
    ends = os.pipe()

    def produce() -> None:
        with os.fdopen(ends[1], "wb") as file:
            writer = Writer(file, header)
            for index in range(chunks):
                writer.append(Chunk((frames * index,), (values,)))
            writer.finish(320 * frames * chunks - 100)

    thread = threading.Thread(target=produce)
    tracemalloc.start()
    thread.start()
    with os.fdopen(ends[0], "rb") as file:
        reader = Reader(file)
        assert reader.header.is_open
        count = sum(np.array_equal(chunk.values[0], values) for chunk in reader)
    thread.join()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == chunks
    assert reader.header.shape == (320 * frames * chunks - 100,)
    assert reader.header.streams[0].grid == (frames * chunks,)
    assert peak < 2**20


def test_finish_of_a_file_of_unknown_length() -> None:
    open_header = stereo().header.closed((UNKNOWN,) * 6)
    for lengths in ((), (5,)):
        with pytest.raises(CodecError, match="finish it with its length"):
            Writer(io.BytesIO(), open_header).finish(*lengths)
    with pytest.raises(CodecError, match=r"raise Limits\.duration"):
        Writer(io.BytesIO(), open_header).finish(48000 * 86401, 5)
    half_open = replace(open_header, streams=stereo().header.streams)
    with pytest.raises(CodecError, match="must be unknown here"):
        Writer(io.BytesIO(), half_open)
