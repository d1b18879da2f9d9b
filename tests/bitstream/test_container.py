"""The container: round trips, overhead, random access, streaming, metadata, limits, examples of docs/format.md."""

import io
import os
import re
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from bitstream_examples import FINGERPRINT, Example, audio, decode, example, image, stereo
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralcodecs.bitstream import (
    UNKNOWN,
    Chunk,
    Header,
    Limits,
    Original,
    Reader,
    StreamSpec,
    Writer,
    split,
    write,
)
from neuralcodecs.bitstream.metadata import basename
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
@settings(max_examples=150, deadline=None)
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


# overhead


@pytest.mark.parametrize(
    ("grid", "alphabet", "stride"),
    [((1, 1), 2, 8), ((16, 16), 16384, 16), ((32, 32), 1024, 8), ((256, 256), 2**18, 16), ((250, 256), 64000, 64)],
)
def test_overhead_of_a_picture(grid: tuple[int, int], alphabet: int, stride: int) -> None:
    picture = image(grid, alphabet, stride)
    bits = grid[0] * grid[1] * (alphabet - 1).bit_length()
    assert len(picture.data()) <= (bits + 7) // 8 + 48


def test_overhead_of_speech() -> None:
    assert len(audio(10).data()) <= 7500 * 1.01 + 64
    assert len(audio(10).data()) == 7500 + 44  # as docs/format.md says
    assert len(audio(10).open_data()) <= 7500 * 1.01 + 64
    assert len(audio(1, levels=2).data()) <= 188 + 64
    hour = audio(3600)
    assert len(hour.data()) <= 2_700_000 * 1.01 + 64
    assert len(hour.data()) == 2_700_000 + 4704  # as docs/format.md says
    assert len(audio(3600, levels=2).data()) <= 675_000 * 1.01 + 64


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
    """Eight minutes in chunks of 80 ms through an operating system pipe, both ends in this process."""
    header = audio(1).header.closed((UNKNOWN, UNKNOWN))
    chunks, frames = 6000, 6
    values = audio(1).values[0][:, :frames]
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


# refusals of the writer


def wrong_chunks() -> Iterator[tuple[str, list[Chunk]]]:
    values = audio(1).values[0]
    yield "it starts at", [Chunk((5,), (values[:, 5:10],))]
    yield "it starts at", [Chunk((0,), (values[:, :10],)), Chunk((9,), (values[:, 9:],))]
    yield "chunks end at", [Chunk((0,), (values[:, :74],))]
    yield "chunks end at", []
    yield "it ends at 80", [Chunk((0,), (np.zeros((8, 80), np.int64),))]
    yield "no position", [Chunk((0,), (values[:, :0],))]
    yield "have shape", [Chunk((0,), (values[:7],))]
    yield "have shape", [Chunk((0,), (values[:, :, None],))]
    yield "holds", [Chunk((0,), (values + 1024,))]
    yield "streams for a header", [Chunk((0, 0), (values, values))]


@pytest.mark.parametrize(("message", "chunks"), wrong_chunks())
def test_writer_refuses(message: str, chunks: list[Chunk]) -> None:
    with pytest.raises(CodecError, match=message):
        write(io.BytesIO(), audio(1).header, chunks)


def test_split_bounds_chunks() -> None:
    big = example(Header(FINGERPRINT, 0, 3, (4096, 4096), (StreamSpec("codes", (4,), (512, 512)),)))
    assert [chunk.values[0].shape[1] for chunk in split(big.header, big.values)] == [128] * 4
    assert big.equals(*decode(big.data()))
    for length in (0, 129):
        with pytest.raises(CodecError, match="1 to 128"):
            next(split(big.header, big.values, length))
    with pytest.raises(CodecError, match="for 4 streams"):
        next(split(stereo().header, stereo().values, 5, (1,)))
    parts = [
        [values.shape[1] for values in chunk.values] for chunk in split(stereo().header, stereo().values, 20, (2, 1, 1))
    ]
    assert parts == [[20, 2, 1, 0], [20, 2, 0, 0], [5, 1, 0, 0]]
    assert [chunk.values[1].shape[1] for chunk in split(stereo().header, stereo().values, 20)] == [5, 0, 0]


def test_unknown_coder() -> None:
    speech = audio(1)
    coded = replace(speech.header, streams=(replace(speech.header.streams[0], coder=3),))
    with pytest.raises(CodecError, match="newer version of neuralcodecs"):
        Writer(io.BytesIO(), coded)
    from neuralcodecs.bitstream.header_bytes import encode_header

    start = encode_header(coded)
    import zlib

    reader = Reader(io.BytesIO(start + zlib.crc32(start).to_bytes(4, "little")))
    assert reader.header == coded
    for use in (reader.read_all, reader.salvage):
        with pytest.raises(CodecError, match="newer version of neuralcodecs"):
            use()


# metadata


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("speech.wav", "speech.wav"),
        ("/etc/passwd", "passwd"),
        ("../../x.wav", "x.wav"),
        (r"C:\music\ü.flac", "ü.flac"),
        ("..", "_"),
        ("a/", "_"),
        ("", "_"),
        ("a\0b\x1b[2J.wav", "ab[2J.wav"),
        ("con.wav", "_con.wav"),
        ("é" * 200, "é" * 127),
    ],
)
def test_names_are_never_paths(name: str, expected: str) -> None:
    assert basename(name) == expected == basename(expected)
    named = replace(audio(1), header=replace(audio(1).header, metadata={"name": name}))
    assert decode(named.data())[0].metadata == {"name": expected}


def nested(depth: int) -> dict[str, object]:
    return {"a": nested(depth - 1)} if depth > 1 else {"a": 1}


@pytest.mark.parametrize(
    "metadata",
    [
        nested(9),
        {"a": [[[[[[[[]]]]]]]]},
        {"title": "x" * 65536},
        {"title": "a\x1b[31mb"},
        {"title": "\ud800"},
        {"\x07": 1},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 2**63},
        {"a": (1, 2)},
        {1: 2},
    ],
    ids=repr,
)
def test_metadata_that_is_refused(metadata: dict[str, object]) -> None:
    with pytest.raises(CodecError):
        from neuralcodecs.bitstream.metadata import encode_metadata

        encode_metadata(metadata)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":2}',
        b'{"b":{"a":1,"a":1}}',
        b"[1]",
        b"1",
        b"",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"9" * 30 + b"}",
        b'{"a":"\\u001b[2J"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b"[" * 60000,
        b'{"a":' * 9000 + b"1" + b"}" * 9000,
        b'{"a":1} ' + b"x",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_forged_metadata_is_refused(data: bytes) -> None:
    from neuralcodecs.bitstream.metadata import decode_metadata

    with pytest.raises(CodecError) as caught:
        decode_metadata(data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_metadata_of_depth_eight_is_kept() -> None:
    deep = replace(audio(1), header=replace(audio(1).header, metadata=nested(8)))
    assert deep.equals(*decode(deep.data()))


# limits


def limited() -> Iterator[tuple[str, Header]]:
    base = audio(1).header
    codes = base.streams[0]
    yield "duration", replace(base, shape=(24000 * 86400 + 1,))
    yield "duration", replace(base, original=Original(8000, 1, (8000 * 86400 + 1,)))
    yield "pixels", replace(image().header, shape=(2**13 + 1, 2**13))
    yield "pixels", Header(FINGERPRINT, 25, 3, (9, 2**13 + 1, 2**13), (codes,))
    yield "channels", replace(base, channels=65)
    yield "streams", replace(base, streams=tuple(replace(codes, name=f"s{i}") for i in range(17)))
    yield "codebooks", replace(base, streams=(replace(codes, alphabet=(2,) * 1025),))
    yield "symbols", replace(base, streams=(replace(codes, grid=(2**25 + 1,)),))


@pytest.mark.parametrize(("field", "header"), limited())
def test_limits_are_named_and_can_be_raised(field: str, header: Header) -> None:
    with pytest.raises(CodecError, match=rf"raise Limits\.{field} to allow it"):
        Writer(io.BytesIO(), header)
    raised = Limits()._replace(**{field: 2**30})
    file = io.BytesIO()
    Writer(file, header, raised)
    with pytest.raises(CodecError, match=rf"raise Limits\.{field} to allow it"):
        Reader(io.BytesIO(file.getvalue()))
    assert Reader(io.BytesIO(file.getvalue()), raised).header == header


def test_limit_of_chunks_and_of_symbols_in_an_open_file() -> None:
    data = replace(audio(1), length=5).open_data()
    with pytest.raises(CodecError, match=r"Limits\.chunks"):
        Reader(io.BytesIO(data), Limits(chunks=14)).read_all()
    with pytest.raises(CodecError, match=r"Limits\.chunks"):
        Reader(io.BytesIO(data), Limits(chunks=14)).salvage()
    with pytest.raises(CodecError, match=r"Limits\.symbols"):
        Reader(io.BytesIO(data), Limits(symbols=599)).read_all()
    with pytest.raises(CodecError, match="read by chunk"):
        Reader(io.BytesIO(data)).read_all(599)
    assert audio(1).equals(
        *[values := Reader(io.BytesIO(data), Limits(chunks=15, symbols=600)).read_all(600), audio(1).header][::-1]
    )
    assert values[0].shape == (8, 75)


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": b"short"},
        {"rate": -1},
        {"rate": 2**24 + 1},
        {"channels": 0},
        {"shape": ()},
        {"shape": (1, 2, 3, 4)},
        {"shape": (5, 0)},
        {"shape": (-2,)},
        {"shape": (UNKNOWN,)},
        {"streams": ()},
        {"original": Original(8000, 1, (1, 1))},
        {"streams": (StreamSpec("a", (2,), (1,)), StreamSpec("a", (2,), (1,)))},
        {"streams": (StreamSpec("", (2,), (1,)),)},
        {"streams": (StreamSpec("a b", (2,), (1,)),)},
        {"streams": (StreamSpec("é", (2,), (1,)),)},
        {"streams": (StreamSpec("a" * 33, (2,), (1,)),)},
        {"streams": (StreamSpec("a", (), (1,)),)},
        {"streams": (StreamSpec("a", (0,), (1,)),)},
        {"streams": (StreamSpec("a", (2**32 + 1,), (1,)),)},
        {"streams": (StreamSpec("a", (2,), ()),)},
        {"streams": (StreamSpec("a", (2,), (1, 0)),)},
        {"streams": (StreamSpec("a", (2,), (1, 2**16 + 1)),)},
        {"streams": (StreamSpec("a", (2,), (UNKNOWN,)),)},
    ],
    ids=repr,
)
def test_impossible_headers_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(CodecError):
        Writer(io.BytesIO(), replace(audio(1).header, **change))


# docs/format.md


def documented() -> dict[str, bytes]:
    """The bytes of every hex block, by the name on its first line."""
    blocks = re.findall(r"```hex (\S+)\n(.*?)```", (ROOT / "docs" / "format.md").read_text(), re.DOTALL)
    digits = re.compile(r"^((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  |$)", re.MULTILINE)
    return {name: bytes.fromhex(" ".join(digits.findall(block))) for name, block in blocks}


def test_documented_examples_are_what_is_written() -> None:
    picture = Example(
        Header(FINGERPRINT, 0, 3, (64, 48), (StreamSpec("codes", (1000,), (4, 3)),)),
        (np.arange(1, 13).reshape(1, 4, 3) * 83,),
    )
    streams = (StreamSpec("codes", (1024, 1024, 512), (UNKNOWN,)), StreamSpec("scale", (2**32,), (UNKNOWN,)))
    recording = Example(
        Header(
            FINGERPRINT,
            24000,
            1,
            (1500,),
            (replace(streams[0], grid=(5,)), replace(streams[1], grid=(2,))),
            Original(48000, 2, (3000,)),
            {"title": "tone"},
        ),
        (
            np.array([[1, 2, 3, 4, 5], [1023, 1022, 1021, 1020, 1019], [511, 0, 256, 1, 8]]),
            np.array([[0x3F800000, 0x3F000000]]),
        ),
        3,
        (1,),
    )
    assert documented() == {"picture": picture.data(), "recording": recording.open_data()}
