"""The payloads of a chunk: packed symbols by themselves, all others by coders that the caller brings."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Int64

from neuralcodecs.bitstream.header import FIXED_WIDTH, Header, Shape, StreamSpec
from neuralcodecs.bitstream.packing import pack, unpack
from neuralcodecs.errors import CodecError

# rows differ between streams, so neither axis is bound
Values = Int64[np.ndarray, "_q ..."]


class PayloadCoder(ABC):
    """Values of one stream in one chunk to bytes and back.

    ``number`` and ``prior`` (8 bytes, of its tables or weights) are what the header says of the stream. ``given`` are
    the values of the streams of the same chunk that are coded before this one: all side streams before the main one,
    and side streams in the header's order.
    """

    number: int
    prior: bytes

    @abstractmethod
    def encode(self, values: Values, given: Mapping[str, Values]) -> bytes:
        """Never called for a range without positions, whose payload is empty."""

    @abstractmethod
    def decode(self, data: bytes, levels: int, grid: Shape, given: Mapping[str, Values]) -> Values:
        """int64 ``(levels, *grid)``. Raises CodecError for a payload that it would not write for such values."""


Coders = Mapping[str, PayloadCoder]
"""By the name of the stream; those that are not named are of fixed width."""
NO_CODERS: Coders = {}


def check_coders(header: Header, coders: Coders) -> None:
    """CodecError for a stream whose payload these coders cannot write or read."""
    for stream in header.streams:
        coder = coders.get(stream.name)
        own = (FIXED_WIDTH, b"") if coder is None else (coder.number, coder.prior)
        if own != (stream.coder, stream.prior):
            raise CodecError(
                f"stream {stream.name!r} has coder {stream.coder} with prior {stream.prior.hex() or 'none'}: "
                "open the file with the model that has it, or a newer version of neuralcodecs"
            )


def encode_payloads(header: Header, values: Sequence[Values], coders: Coders) -> tuple[bytes, ...]:
    """One payload a stream, in the header's order."""
    given: dict[str, Values] = {}
    payloads: dict[str, bytes] = {}
    for index in _order(header):
        stream, own = header.streams[index], values[index]
        expected = (len(stream.alphabet), *own.shape[1:2], *stream.grid[1:])
        if own.shape != expected:
            raise CodecError(f"values of {stream.name!r} have shape {own.shape}, not {expected}")
        payloads[stream.name] = _encode(stream, own, coders, given)
        given[stream.name] = own
    return tuple(payloads[stream.name] for stream in header.streams)


def decode_payloads(
    header: Header, counts: Sequence[int], sizes: Sequence[int], payload: bytes, coders: Coders
) -> tuple[Values, ...]:
    """Values of every stream, in the header's order; ``payload``: of all of them, ``sizes`` bytes each."""
    ends = np.cumsum(sizes).tolist()
    given: dict[str, Values] = {}
    for index in _order(header):
        stream = header.streams[index]
        data = payload[ends[index] - sizes[index] : ends[index]]
        given[stream.name] = _decode(stream, counts[index], data, coders, given)
    return tuple(given[stream.name] for stream in header.streams)


def check_packed(header: Header, counts: Sequence[int], sizes: Sequence[int], payload: bytes) -> None:
    """CodecError where a stream of fixed width holds a value outside its alphabet; other streams are passed over."""
    position = 0
    for stream, count, size in zip(header.streams, counts, sizes, strict=True):
        if stream.coder == FIXED_WIDTH:
            unpack(payload[position : position + size], stream.alphabet, count * stream.row)
        position += size


def _order(header: Header) -> Iterator[int]:
    """Side streams first: the main one may be coded given them."""
    yield from range(1, len(header.streams))
    yield 0


def _encode(stream: StreamSpec, values: Values, coders: Coders, given: Mapping[str, Values]) -> bytes:
    if stream.coder == FIXED_WIDTH:
        return pack(values.reshape(len(values), -1), stream.alphabet)
    _check_range(stream, values)
    return coders[stream.name].encode(values, given) if values.shape[1] else b""


def _decode(stream: StreamSpec, count: int, data: bytes, coders: Coders, given: Mapping[str, Values]) -> Values:
    grid = (count, *stream.grid[1:])
    if stream.coder == FIXED_WIDTH:
        return unpack(data, stream.alphabet, count * stream.row).reshape(len(stream.alphabet), *grid)
    if count == 0:
        if data:
            raise CodecError(f"{len(data)} bytes of {stream.name!r} for no position: the file is damaged")
        return np.zeros((len(stream.alphabet), *grid), np.int64)
    values = coders[stream.name].decode(data, len(stream.alphabet), grid, given)
    if values.shape != (len(stream.alphabet), *grid):
        raise CodecError(f"the coder of {stream.name!r} gave values of shape {values.shape}: use another model")
    _check_range(stream, values)
    return values


def _check_range(stream: StreamSpec, values: Values) -> None:
    limits = np.array(stream.alphabet, np.int64).reshape(-1, *(1,) * (values.ndim - 1))
    if not ((values >= 0) & (values < limits)).all():
        raise CodecError(f"values {values.min()} to {values.max()} of {stream.name!r} leave their alphabet")
