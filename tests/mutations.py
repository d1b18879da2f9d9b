"""Ways to damage and to forge a .ncs file: functions of the file, of a random generator and of files to mix in."""

import random
import re
from collections.abc import Callable, Sequence

from bitstream_forgery import ChunkParts, Parts, join, reseal, take_apart

from neuralcodecs.errors import CodecError

Mutation = Callable[[bytes, random.Random, Sequence[bytes]], bytes]

EXTREMES = [0, 1, 2, 127, 128, 255, 2**16 - 1, 2**16 + 1, 2**24, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
FINGERPRINT, MARKER = 8, 2
_VARINT = re.compile(rb"[\x80-\xff]*[\x00-\x7f]|[\x80-\xff]+")


def leb128(value: int) -> bytes:
    """As the format writes integers, also those that it does not allow."""
    groups = [value >> shift & 0x7F | 0x80 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*groups[:-1], groups[-1] & 0x7F])


def flip(data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3, 8, 40])):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[stop:] if rng.random() < 0.7 else data[:start]


def overwrite(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(data))
    length = rng.choice([0, 1, 2, 4, 16])
    return data[:start] + rng.randbytes(length) + data[start + rng.choice([0, length]) :]


def splice(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def extreme(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """An extreme integer in place of one of the header, of a chunk's head or of the end record, under the old CRCs."""
    return join(_extreme(take_apart(data), rng))


def rearrange(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Chunks swapped, repeated, left out, or taken from another file."""
    parts = take_apart(data)
    return join(parts._replace(chunks=_rearranged(parts.chunks, rng, others)))


def wrong_crc(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """The right length everywhere, and another CRC of the header, of a chunk, of the end, or another digest."""
    parts = take_apart(data)
    crc = rng.choice([rng.randbytes(4), bytes(4), parts.crc[::-1], parts.chunks[0].crc[::-1]])
    index = rng.randrange(len(parts.chunks))
    changes = [parts._replace(crc=crc), _with_chunk(parts, index, crc=crc)]
    if parts.end:
        changes += [parts._replace(digest=crc), parts._replace(end_crc=crc)]
    return join(rng.choice(changes))


def wrong_payload(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """One chunk's payload replaced by another of the same length, under the old CRC."""
    parts = take_apart(data)
    index = rng.randrange(len(parts.chunks))
    payload = parts.chunks[index].payload
    other = rng.choice([bytes(len(payload)), rng.randbytes(len(payload)), payload[1:] + payload[:1]])
    return join(_with_chunk(parts, index, payload=other))


def wrong_length(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """One chunk's payload longer or shorter than its head says, under a CRC that is right."""
    parts = take_apart(data)
    index = rng.randrange(len(parts.chunks))
    payload = parts.chunks[index].payload
    count = rng.randrange(1, 20)
    return reseal(_with_chunk(parts, index, payload=rng.choice([payload[:-count], payload + rng.randbytes(count)])))


def forge_lengths(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """One to three integers set to extremes or changed by one, with every CRC made right."""
    parts = take_apart(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        parts = _extreme(parts, rng)
    return reseal(parts)


def forge_bytes(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Flipped bits, or bytes put in or left out, in header, heads or end record, with every CRC made right."""
    parts = take_apart(data)
    change = rng.choice([flip, overwrite, cut])
    index = rng.randrange(len(parts.chunks))
    match rng.randrange(4):
        case 0 if parts.end:
            return reseal(parts._replace(end=change(parts.end, rng, others)))
        case 1:
            return reseal(_with_chunk(parts, index, head=change(parts.chunks[index].head, rng, others)))
        case _:
            body = parts.body[:FINGERPRINT] + change(parts.body[FINGERPRINT:], rng, others)
            return reseal(parts._replace(body=body))


def forge_values(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Other payloads of the right length, with every CRC made right."""
    parts = take_apart(data)
    index = rng.randrange(len(parts.chunks))
    payload = parts.chunks[index].payload
    other = rng.choice([flip(payload, rng), rng.randbytes(len(payload)), b"\xff" * len(payload), bytes(len(payload))])
    return reseal(_with_chunk(parts, index, payload=other))


def forge_order(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """Chunks swapped, repeated, left out, or taken from another file, with every CRC and the digest made right."""
    parts = take_apart(data)
    parts = parts._replace(chunks=_rearranged(parts.chunks, rng, others))
    return reseal(parts if rng.random() < 0.5 else _extreme(parts, rng))


DAMAGE: tuple[Mutation, ...] = (flip, cut, overwrite, splice, extreme, rearrange, wrong_crc, wrong_payload)
"""What no writer leaves: such a file is refused unless its bytes are those of one that was written."""
FORGERY: tuple[Mutation, ...] = (wrong_length, forge_lengths, forge_bytes, forge_values, forge_order)
"""Whoever makes the CRCs right may also write: such a file is refused, or it is a whole file with other codes."""


def twice(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A forgery of a forgery, where the first is still a file."""
    first = rng.choice(FORGERY)(data, rng, others)
    try:
        return rng.choice(FORGERY)(first, rng, others)
    except (CodecError, IndexError):
        return first


def _extreme(parts: Parts, rng: random.Random) -> Parts:
    """One integer of the header (its length too), of a chunk's head or of the end record, changed."""
    match rng.randrange(6):
        case 0:
            return parts._replace(start=_changed(parts.start, 4, rng))
        case 1 if parts.end:
            return parts._replace(end=_changed(parts.end, MARKER, rng))
        case 2 | 3 if parts.chunks:
            index = rng.randrange(len(parts.chunks))
            return _with_chunk(parts, index, head=_changed(parts.chunks[index].head, MARKER, rng))
        case _:
            return parts._replace(body=_changed(parts.body, FINGERPRINT, rng))


def _changed(data: bytes, first: int, rng: random.Random) -> bytes:
    """One of the integers that begin at byte ``first`` replaced; names and metadata count as integers of one byte."""
    fields = _VARINT.findall(data, first)
    if not fields:
        return data + leb128(rng.choice(EXTREMES))
    index = rng.randrange(len(fields))
    value = sum((byte & 0x7F) << 7 * group for group, byte in enumerate(fields[index]))
    longer = fields[index][:-1] + bytes([fields[index][-1] | 0x80, 0])
    fields[index] = rng.choice([*map(leb128, EXTREMES), leb128(value + 1), leb128(max(value - 1, 0)), longer])
    return data[:first] + b"".join(fields)


def _with_chunk(parts: Parts, index: int, **changes: bytes) -> Parts:
    chunk = parts.chunks[index]._replace(**changes)
    return parts._replace(chunks=(*parts.chunks[:index], chunk, *parts.chunks[index + 1 :]))


def _rearranged(chunks: tuple[ChunkParts, ...], rng: random.Random, others: Sequence[bytes]) -> tuple[ChunkParts, ...]:
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
            items[first] = rng.choice(take_apart(rng.choice(others)).chunks)
    return tuple(items)
