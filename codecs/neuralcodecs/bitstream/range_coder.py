"""Range coding with integer tables on constriction (https://arxiv.org/abs/2201.01741): exact on every machine.

A table is the cumulative form of a distribution in units of 2**-24: ``table[s]`` to ``table[s + 1]`` is the interval of
symbol s, ``table[0] == 0``, ``table[-1] == 2**24`` and every interval holds at least one unit. Tables of several
alphabets that share an array are padded with 2**24 at their end.

Payload: 32-bit words, lowest byte first. Lanes are coded side by side by giving symbols step after step.
"""

from functools import cache
from itertools import pairwise
from typing import NoReturn

import constriction
import numpy as np
from jaxtyping import Int, Int64

from neuralcodecs.errors import CodecError

PRECISION = 24
TOTAL = 1 << PRECISION
LARGEST_TABLE = 2**18
"""Symbols of one table; larger alphabets are split into digits (``alphabets.py``)."""
WORD_BYTES = 4
MAGNITUDE_BYTES = 8
ROWS_AT_ONCE = 128
"""Tables of 1024 symbols that stay in the cache between the passes over them."""

Categorical = constriction.stream.model.Categorical


def table_of(counts: Int[np.ndarray, "*rows v"]) -> Int64[np.ndarray, "*rows w"]:
    """Tables of non-negative counts with a positive sum below 2**38: ``i + floor(C_i * (2**24 - V) / C_V)``, exact."""
    size = counts.shape[-1]
    below = np.zeros((*counts.shape[:-1], size + 1), np.int64)
    np.cumsum(counts, axis=-1, out=below[..., 1:])
    total = below[..., -1:]
    if not (1 <= size <= LARGEST_TABLE and (counts >= 0).all() and ((total > 0) & (total < 1 << 38)).all()):
        raise CodecError(f"no table of {size} counts: 1 to {LARGEST_TABLE}, not negative, with a sum of 1 to 2**38 - 1")
    return np.arange(size + 1) + below * (TOTAL - size) // total


@cache
def uniform_table(size: int) -> Int64[np.ndarray, " w"]:
    """The table of ``size`` equally likely symbols."""
    table = table_of(np.ones(size, np.int64))
    table.flags.writeable = False
    return table


def check_table(table: Int[np.ndarray, " w"]) -> None:
    """Raises CodecError unless this is the table, without padding, of 1 to 2**18 symbols."""
    if not 2 <= len(table) <= LARGEST_TABLE + 1:
        raise CodecError(f"a table of {len(table) - 1} symbols: 1 to {LARGEST_TABLE} can be coded")
    if table[0] != 0 or table[-1] != TOTAL or not (np.diff(table) > 0).all():
        raise CodecError(
            "a probability table does not rise from 0 to 2**24 by at least 1 a symbol: the model is damaged"
        )


def intervals(
    symbols: Int[np.ndarray, "*rows"], tables: Int[np.ndarray, "*rows w"]
) -> tuple[Int64[np.ndarray, "*rows"], Int64[np.ndarray, "*rows"]]:
    """Lower and upper end of each symbol in its table. Raises CodecError for a symbol outside its alphabet."""
    chosen = np.asarray(symbols, np.int64)[..., None]
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < tables.shape[-1] - 1):
        raise CodecError(
            f"symbols {chosen.min()} to {chosen.max()}: the table's alphabet is 0 to {tables.shape[-1] - 2}"
        )
    lower, upper = (np.take_along_axis(tables, chosen + k, -1)[..., 0].astype(np.int64) for k in (0, 1))
    return lower, upper


def ideal_bits(lower: Int[np.ndarray, "*rows"], upper: Int[np.ndarray, "*rows"]) -> float:
    """What symbols with these intervals cost at least: the sum of -log2 of their probabilities."""
    return float(PRECISION * lower.size - np.log2(upper - lower).sum())


class RangeEncoder:
    """Symbols to bytes; what is encoded first is decoded first."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, symbols: Int[np.ndarray, " n"], table: Int[np.ndarray, " w"]) -> None:
        """Symbols of one table. Raises CodecError for a table that is none, and for a symbol outside its alphabet."""
        check_table(table)
        if not symbols.size:
            return
        if not (symbols.min() >= 0 and symbols.max() < len(table) - 1):
            raise CodecError(
                f"symbols {symbols.min()} to {symbols.max()}: the table's alphabet is 0 to {len(table) - 2}"
            )
        if len(table) > 2:  # a single symbol carries nothing
            self._coder.encode(symbols.astype(np.int32), _model(table))

    def encode_intervals(self, lower: Int[np.ndarray, " n"], upper: Int[np.ndarray, " n"]) -> None:
        """Symbols by their intervals: all that an encoder needs of tables that differ from symbol to symbol."""
        if lower.size and not (lower.min() >= 0 and upper.max() <= TOTAL and (lower < upper).all()):
            raise CodecError("an interval is empty or outside 0 to 2**24: the symbol is outside its alphabet")
        certain = upper - lower == TOTAL
        if certain.any():
            lower, upper = lower[~certain], upper[~certain]
        # a part of three needs two units beside it; where there is one, the table has only two symbols
        pair = upper - lower == TOTAL - 1
        for run in np.split(np.arange(len(lower)), np.flatnonzero(np.diff(pair)) + 1):
            if len(run):
                self._encode_run(lower[run[0] : run[-1] + 1], upper[run[0] : run[-1] + 1], bool(pair[run[0]]))

    def encode_magnitudes(self, values: Int[np.ndarray, " n"]) -> None:
        """Integers of 0 to 2**62 by their bytes: for what a table has no symbol for (``alphabets.py``)."""
        if values.size and not (values.min() >= 0 and values.max() <= 1 << 62):
            raise CodecError(f"magnitudes {values.min()} to {values.max()}: 0 to 2**62 can be coded")
        digits = values.astype(np.int64)[:, None] >> 8 * np.arange(MAGNITUDE_BYTES)
        lengths = (digits > 0).sum(-1)
        self.encode(lengths, uniform_table(MAGNITUDE_BYTES + 1))
        for place in range(MAGNITUDE_BYTES):
            self.encode(digits[lengths > place, place] & 0xFF, uniform_table(256))

    def finish(self) -> bytes:
        """Everything so far as a payload; empty where nothing had to be said."""
        return self._coder.get_compressed().astype("<u4").tobytes()

    def _encode_run(self, lower: Int64[np.ndarray, " n"], upper: Int64[np.ndarray, " n"], pair: bool) -> None:
        first, last = lower == 0, upper == TOTAL
        symbols = np.where(first, 0, np.where(last, 1 if pair else 2, 1)).astype(np.int32)
        rest = TOTAL - (upper - lower)
        before = np.where(first, upper, np.where(last, lower if pair else 1, lower))
        middle = np.where(first, 1, np.where(last, rest - 1, upper - lower))
        parts = [before, TOTAL - before] if pair else [before, middle, TOTAL - before - middle]
        self._coder.encode(symbols, Categorical(perfect=False), np.stack(parts, -1).astype(np.float32) - 1)


class RangeDecoder:
    """Bytes to symbols, with the tables and in the order of the encoder.

    Damage yields wrong symbols, not always an error, until ``finish``: it refuses every payload that is not, byte for
    byte, what the encoder writes for the symbols decoded, so truncated and lengthened payloads too. Of payloads with a
    flipped bit or of random words about 1 in 200 pass, as encodings of other symbols: a checksum must find those.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) % WORD_BYTES:
            raise CodecError(f"a range-coded payload of {len(data)} bytes: not whole words, it is truncated or damaged")
        self._data = data
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
        self._again = RangeEncoder()

    def decode(self, count: int, table: Int[np.ndarray, " w"]) -> Int64[np.ndarray, " n"]:
        """The next ``count`` symbols, all of one table. Raises CodecError where the payload cannot hold them."""
        check_table(table)
        if count == 0 or len(table) == 2:
            return np.zeros(count, np.int64)
        try:
            symbols = self._coder.decode(_model(table), count).astype(np.int64)
        except AssertionError:
            _refuse()
        self._again.encode(symbols, table)
        return symbols

    def decode_rows(self, tables: Int[np.ndarray, "n w"]) -> Int64[np.ndarray, " n"]:
        """One symbol of each table. Raises CodecError where the payload cannot hold them."""
        symbols = np.zeros(len(tables), np.int64)
        for first in range(0, len(tables), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            symbols[rows] = self._decode_rows(tables[rows])
        return symbols

    def decode_magnitudes(self, count: int) -> Int64[np.ndarray, " n"]:
        """The next ``count`` integers of ``encode_magnitudes``."""
        lengths = self.decode(count, uniform_table(MAGNITUDE_BYTES + 1))
        values = np.zeros(count, np.int64)
        for place in range(MAGNITUDE_BYTES):
            longer = lengths > place
            values[longer] |= self.decode(int(longer.sum()), uniform_table(256)) << 8 * place
        if count and not (values.min() >= 0 and values.max() <= 1 << 62):
            _refuse()
        return values

    def finish(self) -> None:
        """Raises CodecError unless the symbols decoded are exactly what the payload encodes."""
        if self._again.finish() != self._data:
            _refuse()

    def _decode_rows(self, tables: Int[np.ndarray, "n w"]) -> Int64[np.ndarray, " n"]:
        sizes = (tables < TOTAL).sum(-1)
        symbols = np.zeros(len(tables), np.int64)
        for start, stop in pairwise([0, *(np.flatnonzero(np.diff(sizes)) + 1), len(tables)]):
            if sizes[start] != 1:
                symbols[start:stop] = self._decode_run(tables[start:stop, : sizes[start] + 1])
        self._again.encode_intervals(*intervals(symbols, tables))
        return symbols

    def _decode_run(self, tables: Int[np.ndarray, "n w"]) -> Int64[np.ndarray, " n"]:
        units = np.diff(tables, axis=-1)
        if not (tables[:, 0] == 0).all() or units.min() < 1:
            raise CodecError("a probability table does not rise from 0 to 2**24: the model is damaged")
        try:
            return self._coder.decode(Categorical(perfect=False), (units - 1).astype(np.float32)).astype(np.int64)
        except AssertionError:
            _refuse()


def _model(table: Int[np.ndarray, " w"]) -> constriction.stream.model.Categorical:
    # constriction scales by (2**24 - V) / sum, which is exactly 1 for units less one; perfect has had two defaults
    return Categorical((np.diff(table) - 1).astype(np.float32), perfect=False, lazy=False)


def _refuse() -> NoReturn:
    raise CodecError("a range-coded payload does not hold the symbols that it should: it is truncated or damaged")
