"""Damaged and forged files: refused with a CodecError, in bounded time."""

import random
import time
from collections.abc import Callable, Iterator

import jaxtyping
import numpy as np
import pytest
from bitstream_examples import audio, banded, decode, duet, image
from bitstream_forgery import ChunkParts, Parts, join, reseal, take_apart

from neuralcodecs.bitstream import StreamSpec
from neuralcodecs.errors import CodecError

Mutation = Callable[[bytes, random.Random], bytes]

ORIGINALS = {
    data: example
    for example in (duet(), duet(1), image((4, 4)), banded(), audio(1, levels=2, chunk_seconds=0.5))
    for data in (example.data(), example.open_data())
}
FILES = list(ORIGINALS)
EXTREMES = [0, 1, 2, 127, 128, 255, 2**16 - 1, 2**16 + 1, 2**24, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


@pytest.fixture(autouse=True)
def _unchecked_types() -> Iterator[None]:
    """Without the shape checks of the other tests, which take ten times as long as reading these small files."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


def leb128(value: int) -> bytes:
    """As the format writes integers, also those that it does not allow."""
    groups = [value >> shift & 0x7F | 0x80 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*groups[:-1], groups[-1] & 0x7F])


def accepted(data: bytes) -> bool:
    """Whether a file is read. Any exception but CodecError, or values that are not the original's, fails the test."""
    try:
        header, values = decode(data)
    except CodecError as error:
        assert "\n" not in str(error) and len(str(error)) < 300
        return False
    assert data in ORIGINALS and ORIGINALS[data].equals(header, values), data.hex()
    return True


@pytest.mark.parametrize("data", [duet().data(), duet().open_data(), image((4, 4)).data()], ids=len)
def test_every_bit_flip_and_every_truncation_is_refused(data: bytes) -> None:
    assert accepted(data)
    for bit in range(8 * len(data)):
        flipped = (int.from_bytes(data, "little") ^ 1 << bit).to_bytes(len(data), "little")
        assert not accepted(flipped), bit
    for length in range(len(data)):
        assert not accepted(data[:length]), length
    assert not accepted(data + b"\0") and not accepted(data + data)


def flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3, 8, 40])):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[stop:] if rng.random() < 0.7 else data[:start]


def overwrite(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    length = rng.choice([0, 1, 2, 4, 16])
    return data[:start] + rng.randbytes(length) + data[start + rng.choice([0, length]) :]


def splice(data: bytes, rng: random.Random) -> bytes:
    other = rng.choice(FILES)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def extreme(data: bytes, rng: random.Random) -> bytes:
    """An extreme integer where one may be: in the header or in a chunk's head."""
    parts = take_apart(data)
    if rng.random() < 0.5:
        start = parts.start[:4] + leb128(rng.choice(EXTREMES)) if rng.random() < 0.2 else parts.start
        return join(parts._replace(start=start, body=_extreme(parts.body, rng)))
    index = rng.randrange(len(parts.chunks))
    return join(_with_chunk(parts, index, head=_extreme(parts.chunks[index].head, rng)))


def rearrange(data: bytes, rng: random.Random) -> bytes:
    """Chunks swapped, repeated, left out, or taken from another file."""
    parts = take_apart(data)
    return join(parts._replace(chunks=_rearranged(parts.chunks, rng)))


def wrong_crc(data: bytes, rng: random.Random) -> bytes:
    """The right length everywhere, and another CRC of the header, of a chunk, of the end, or another digest."""
    parts = take_apart(data)
    crc = rng.choice([rng.randbytes(4), bytes(4), parts.crc[::-1], parts.chunks[0].crc[::-1]])
    index = rng.randrange(len(parts.chunks))
    changes = [parts._replace(crc=crc), _with_chunk(parts, index, crc=crc)]
    if parts.end:
        changes += [parts._replace(digest=crc), parts._replace(end_crc=crc)]
    return join(rng.choice(changes))


def wrong_payload(data: bytes, rng: random.Random) -> bytes:
    """One chunk's payload replaced by another of the same length, under the old CRC."""
    parts = take_apart(data)
    index = rng.randrange(len(parts.chunks))
    payload = parts.chunks[index].payload
    other = rng.choice([bytes(len(payload)), rng.randbytes(len(payload)), payload[1:] + payload[:1]])
    return join(_with_chunk(parts, index, payload=other))


def wrong_length(data: bytes, rng: random.Random) -> bytes:
    """One chunk's payload longer or shorter than its head says, under a CRC that is right."""
    parts = take_apart(data)
    index = rng.randrange(len(parts.chunks))
    payload = parts.chunks[index].payload
    count = rng.randrange(1, 20)
    return reseal(_with_chunk(parts, index, payload=rng.choice([payload[:-count], payload + rng.randbytes(count)])))


def _extreme(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(2, len(data))
    return data[:start] + leb128(rng.choice(EXTREMES)) + data[start + rng.choice([0, 1, 1, 1, 2, 4]) :]


def _with_chunk(parts: Parts, index: int, **changes: bytes) -> Parts:
    chunk = parts.chunks[index]._replace(**changes)
    return parts._replace(chunks=(*parts.chunks[:index], chunk, *parts.chunks[index + 1 :]))


def _rearranged(chunks: tuple[ChunkParts, ...], rng: random.Random) -> tuple[ChunkParts, ...]:
    items = list(chunks)
    first, second = rng.randrange(len(items)), rng.randrange(len(items))
    match rng.randrange(4):
        case 0:
            items[first], items[second] = items[second], items[first]
        case 1:
            items.insert(second, items[first])
        case 2:
            del items[first]
        case _:
            items[first] = rng.choice(take_apart(rng.choice(FILES)).chunks)
    return tuple(items)


# more of those that end early
MUTATIONS: list[tuple[Mutation, int]] = [
    (flip, 4000),
    (cut, 4000),
    (extreme, 3000),
    (splice, 3000),
    (overwrite, 2000),
    (rearrange, 1100),
    (wrong_crc, 1100),
    (wrong_payload, 1100),
    (wrong_length, 1100),
]


@pytest.mark.parametrize(("mutation", "count"), MUTATIONS)
def test_mutations_are_refused(mutation: Mutation, count: int) -> None:
    """20,400 of nine kinds: none is accepted unless its bytes are those of a file that was written."""
    rng = random.Random(mutation.__name__)
    slowest, changed = 0.0, 0
    for index in range(count):
        data = mutation(FILES[index % len(FILES)], rng)
        start = time.process_time()
        read = accepted(data)
        slowest = max(slowest, time.process_time() - start)
        changed += not read
    assert changed > count * 0.6
    assert slowest < 1


def forge(data: bytes, rng: random.Random) -> bytes:
    """Wrong lengths, values and order, with every CRC and the digest made right."""
    parts = take_apart(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        index = rng.randrange(max(len(parts.chunks), 1))
        match rng.randrange(5):
            case 0:
                parts = parts._replace(body=_extreme(parts.body, rng))
            case 1 if parts.chunks:
                parts = _with_chunk(parts, index, head=_extreme(parts.chunks[index].head, rng))
            case 2 if parts.chunks and parts.chunks[index].payload:
                parts = _with_chunk(parts, index, payload=flip(parts.chunks[index].payload, rng))
            case 3 if parts.end:
                parts = parts._replace(end=_extreme(parts.end, rng))
            case _ if parts.chunks:
                parts = parts._replace(chunks=_rearranged(parts.chunks, rng))
    return reseal(parts)


def test_forgeries_are_refused_or_whole() -> None:
    """Whoever forges may also write: such a file is refused, or what is read is what its header says."""
    rng = random.Random(0)
    results = {True: 0, False: 0}
    for index in range(2000):
        start = time.process_time()
        try:
            header, values = decode(forge(FILES[index % len(FILES)], rng))
        except CodecError as error:
            assert "\n" not in str(error)
            results[False] += 1
        else:
            results[True] += 1
            for stream, symbols in zip(header.streams, values, strict=True):
                assert _fits(stream, symbols)
        assert time.process_time() - start < 1
    assert results[False] > 1000 and results[True] > 100


def _fits(stream: StreamSpec, symbols: np.ndarray) -> bool:
    if symbols.shape != (len(stream.alphabet), *stream.grid):
        return False
    return all(
        not row.size or 0 <= row.min() <= row.max() < size for row, size in zip(symbols, stream.alphabet, strict=True)
    )
