"""Alphabets made to fit probability tables: large ones split into digits, values outside of one escaped."""

import numpy as np
from jaxtyping import Int, Int64

from neuralcodecs.errors import CodecError

LARGEST_DIGIT = 4096
"""Symbols of one table of PEM-24 (an alphabet for which a network gives a table per position)."""


def digits_of(size: int) -> tuple[int, ...]:
    """Alphabets of the digits, highest first, that values below ``size`` are split into: as few and equal as can be."""
    if not 1 <= size <= 2**32:
        raise CodecError(f"an alphabet of {size} symbols cannot be split into digits: sizes are 1 to 2**32")
    count = 1
    while LARGEST_DIGIT**count < size:
        count += 1
    base = next(b for b in range(round(size ** (1 / count)) - 1, LARGEST_DIGIT + 1) if b > 0 and b**count >= size)
    if count == 1:
        return (size,)
    return (-(-size // base ** (count - 1)), *(base,) * (count - 1))


def split(values: Int[np.ndarray, "*rows"], size: int) -> Int64[np.ndarray, "*rows k"]:
    """The digits of values below ``size``. Raises CodecError for a value outside."""
    if values.size and not (values.min() >= 0 and values.max() < size):
        raise CodecError(f"values {values.min()} to {values.max()} are outside their alphabet, 0 to {size - 1}")
    return np.stack(np.unravel_index(values.astype(np.int64), digits_of(size)), -1)


def join(digits: Int[np.ndarray, "*rows k"], size: int) -> Int64[np.ndarray, "*rows"]:
    """The inverse of ``split``. Raises CodecError for digits of a value that is not below ``size``."""
    values = _values(digits, size)
    if values.size and values.max() >= size:
        raise CodecError(f"digits of {values.max()}, the alphabet ends at {size - 1}: the file is damaged")
    return values


def join_within(digits: Int[np.ndarray, "*rows k"], size: int) -> Int64[np.ndarray, "*rows"]:
    """As ``join``, but the largest value for digits of one beyond it: for digits that were predicted."""
    return np.minimum(_values(digits, size), size - 1)


def escape(values: Int[np.ndarray, " n"], size: int) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " m"]]:
    """Symbols of 0 to ``size``, which stands for any value outside 0 to ``size - 1``, and the magnitudes of those.

    The magnitudes, in order, go behind all symbols (``RangeEncoder.encode_magnitudes``).
    """
    values = values.astype(np.int64)
    outside = (values < 0) | (values >= size)
    away = values[outside]
    return np.where(outside, size, values), np.where(away < 0, -2 * away - 1, 2 * (away - size))


def unescape(symbols: Int[np.ndarray, " n"], magnitudes: Int[np.ndarray, " m"], size: int) -> Int64[np.ndarray, " n"]:
    """The inverse of ``escape``; there is one magnitude for each symbol ``size``."""
    values = symbols.astype(np.int64)
    values[symbols == size] = np.where(magnitudes % 2, -(magnitudes + 1) // 2, magnitudes // 2 + size)
    return values


def _values(digits: Int[np.ndarray, "*rows k"], size: int) -> Int64[np.ndarray, "*rows"]:
    whole = np.ravel_multi_index(tuple(np.moveaxis(digits, -1, 0)), digits_of(size))
    return np.asarray(whole, np.int64)  # of one row it is a number
