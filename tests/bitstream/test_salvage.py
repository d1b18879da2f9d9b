"""Salvage recovers every chunk that is intact, and only with the values it had."""

import io
import random

import numpy as np
import pytest
from bitstream_examples import Example, audio, banded, decode, stereo
from bitstream_forgery import join, take_apart

from neuralcodecs.bitstream import Reader
from neuralcodecs.errors import CodecError


def _salvage(data: bytes) -> tuple[dict[tuple[int, ...], tuple[np.ndarray, ...]], tuple[tuple[int, ...], ...]]:
    """Values of the intact chunks by their starts, and the damaged ranges of the main stream."""
    reader = Reader(io.BytesIO(data))
    salvaged = reader.salvage()
    chunks = {info.starts: reader.read(info).values for info in salvaged.chunks}
    return chunks, tuple((damage.starts[0], damage.stops[0]) for damage in salvaged.damaged)


def _expect(example: Example, data: bytes, lost: set[int]) -> None:
    """Every chunk of ``example`` but those of index ``lost`` is recovered with its values."""
    infos = Reader(io.BytesIO(example.data())).chunks
    chunks, damaged = _salvage(data)
    assert set(chunks) == {info.starts for i, info in enumerate(infos) if i not in lost}
    for starts, parts in chunks.items():
        for start, part, whole in zip(starts, parts, example.values, strict=True):
            assert np.array_equal(part, whole[:, start : start + part.shape[1]])
    missing = {p for i in lost for p in range(infos[i].starts[0], infos[i].stops[0])}
    assert {p for start, stop in damaged for p in range(start, stop)} == missing


@pytest.mark.parametrize("example", [stereo(), banded(), audio(2, chunk_seconds=0.25)])
def test_salvage_loses_only_the_chunk_that_is_hit(example: Example) -> None:
    data = example.data()
    infos = Reader(io.BytesIO(data)).chunks
    rng = random.Random(0)
    for index, info in enumerate(infos):
        for place in {info.offset, info.offset + 1, info.offset + 4, info.payload, info.end - 1}:
            broken = data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
            with pytest.raises(CodecError, match=rf"chunk {index}: .*salvage"):
                decode(broken)
            _expect(example, broken, {index})
        _expect(example, data[: info.offset] + data[info.end :], {index})
        _expect(example, data[: info.offset] + rng.randbytes(99) + data[info.offset :], set())
        _expect(example, data[: info.end - 1], set(range(index, len(infos))))
    _expect(example, data[:-3], set())


def test_salvage_of_random_damage() -> None:
    """Each chunk that no damaged byte touches is recovered, none with other values than it had."""
    example = audio(10, levels=2, chunk_seconds=0.5)
    data = example.data()
    infos = Reader(io.BytesIO(data)).chunks
    rng = random.Random(0)
    for _ in range(60):
        places = rng.sample(range(infos[0].offset, len(data)), rng.choice([1, 4, 12]))
        broken = bytearray(data)
        for place in places:
            broken[place] ^= rng.randrange(1, 256)
        lost = {i for i, info in enumerate(infos) if any(info.offset <= place < info.end for place in places)}
        _expect(example, bytes(broken), lost)


def test_salvage_of_swapped_duplicated_and_foreign_chunks() -> None:
    example = audio(2, chunk_seconds=0.25)
    data = example.data()
    parts = take_apart(data)
    rng = random.Random(0)
    for _ in range(20):
        order = rng.sample(range(len(parts.chunks)), len(parts.chunks))
        shuffled = join(parts._replace(chunks=tuple(parts.chunks[i] for i in [*order, *order])))
        _expect(example, shuffled, set())
    foreign = Reader(io.BytesIO(banded().data())).chunks[0]
    _expect(example, data + banded().data()[foreign.offset : foreign.end], set())
    with pytest.raises(CodecError, match="the header"):
        Reader(io.BytesIO(data[:10] + b"\xff" + data[11:])).salvage()
