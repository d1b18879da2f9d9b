"""Packs symbols of fixed width into bytes: exactly ceil(log2 K) bits for a symbol of an alphabet of size K."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int64

from neuralcodecs.errors import CodecError

LARGEST_ALPHABET = 2**32


def symbol_bits(size: int) -> int:
    """Bits of one symbol of an alphabet of ``size`` symbols: ceil(log2 size), 0 for an alphabet of one."""
    if not 1 <= size <= LARGEST_ALPHABET:
        raise CodecError(f"an alphabet of {size} symbols cannot be packed: sizes are 1 to {LARGEST_ALPHABET}")
    return (size - 1).bit_length()


def packed_bytes(alphabet: Sequence[int], positions: int) -> int:
    """Bytes that ``positions`` positions take, one symbol of every codebook each."""
    return (positions * sum(map(symbol_bits, alphabet)) + 7) // 8


def pack(values: Int[np.ndarray, "q n"], alphabet: Sequence[int]) -> bytes:
    """Symbols as bytes, position after position and within a position codebook after codebook.

    The first symbol takes the lowest bits of the first byte; unused bits of the last byte are zero.
    Raises CodecError for a value outside its alphabet.
    """
    _check_rows(len(values), alphabet)
    for row, (symbols, size) in enumerate(zip(values, alphabet, strict=True)):
        if symbols.size and not (symbols.min() >= 0 and symbols.max() < size):
            raise CodecError(
                f"codebook {row} holds {symbols.min()} to {symbols.max()}, its alphabet is 0 to {size - 1}"
            )
    length = packed_bytes(alphabet, values.shape[1])
    symbols, widths = values, [symbol_bits(size) for size in alphabet]
    if len(set(widths)) == 1:
        symbols, widths = values.T.reshape(1, -1), widths[:1]
    count, stride = symbols.shape[1], sum(widths)
    # eight positions fill exactly `stride` bytes: positions p, p + 8, p + 16 ... share a bit offset, one row apart
    packed = np.zeros(((count + 7) // 8, stride), np.uint8)
    for phase in range(min(8, count)):
        bit = phase * stride
        for lane, width in zip(symbols[:, phase::8], widths, strict=True):
            first, shift = divmod(bit, 8)
            word = lane.astype(np.uint64) << np.uint64(shift)
            bit += width
            for byte in range(first, (bit + 7) // 8):
                packed[: len(lane), byte] |= (word >> np.uint64(8 * (byte - first))).astype(np.uint8)
    return packed.tobytes()[:length]


def unpack(data: bytes, alphabet: Sequence[int], positions: int) -> Int64[np.ndarray, "q n"]:
    """The inverse of ``pack``.

    Raises CodecError when the length is not that of ``positions`` positions, a value is outside its alphabet, or an
    unused bit is set.
    """
    _check_rows(len(alphabet), alphabet)
    length = packed_bytes(alphabet, positions)
    if len(data) != length:
        raise CodecError(f"{positions} positions take {length} bytes, the payload has {len(data)}: the file is damaged")
    widths = [symbol_bits(size) for size in alphabet]
    used = positions * sum(widths) % 8
    if used and data[-1] >> used:
        raise CodecError("unused bits after the last symbol are not zero: the file is damaged")
    if len(set(widths)) == 1 and any(widths):
        flat = _unpack_lanes(data, widths[:1], positions * len(widths))
        values = np.ascontiguousarray(flat.reshape(positions, len(widths)).T)
    else:
        values = _unpack_lanes(data, widths, positions)
    for row, (symbols, size) in enumerate(zip(values, alphabet, strict=True)):
        # a power of two has no unused codes, and an alphabet of one no bits: neither costs a pass
        if size & (size - 1) and positions and symbols.max() >= size:
            raise CodecError(f"codebook {row} holds {symbols.max()}, its alphabet ends at {size - 1}: damaged file")
    return values


def _unpack_lanes(data: bytes, widths: Sequence[int], count: int) -> Int64[np.ndarray, "q n"]:
    values = np.zeros((len(widths), count), np.int64)
    stride = sum(widths)
    # room for the 64-bit read of the last symbol
    padded = np.zeros((count + 7) // 8 * stride + 8, np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    for phase in range(min(8, count) if stride else 0):
        bit = phase * stride
        for row, width in enumerate(widths):
            first, shift = divmod(bit, 8)
            lane = values[row, phase::8]
            word = np.ndarray(lane.shape, "<u8", padded.data, first, (stride,))
            lane[:] = (word >> np.uint64(shift)) & np.uint64(2**width - 1)
            bit += width
    return values


def _check_rows(rows: int, alphabet: Sequence[int]) -> None:
    if rows != len(alphabet) or not rows:
        raise CodecError(f"{rows} codebooks with {len(alphabet)} alphabet sizes: there must be one size for each")
