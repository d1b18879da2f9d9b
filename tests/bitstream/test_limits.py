"""What writer and reader refuse: chunks that do not fit, impossible headers, sizes above a limit."""

import io
import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from bitstream_examples import FINGERPRINT, audio, decode, example, image, stereo

from neuralcodecs.bitstream import UNKNOWN, Chunk, Header, Limits, Original, Reader, StreamSpec, Writer, split, write
from neuralcodecs.bitstream.header_bytes import encode_header
from neuralcodecs.errors import CodecError


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
    coded = replace(speech.header, streams=(replace(speech.header.streams[0], coder=3, prior=bytes(8)),))
    with pytest.raises(CodecError, match="or a newer version of neuralcodecs"):
        Writer(io.BytesIO(), coded)
    start = encode_header(coded)
    reader = Reader(io.BytesIO(start + zlib.crc32(start).to_bytes(4, "little")))
    assert reader.header == coded
    for use in (reader.read_all, reader.salvage):
        with pytest.raises(CodecError, match="newer version of neuralcodecs"):
            use()


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
