"""The contract of every prior: integer probability tables of codes, given the codes before them.

    encoder    codes (b q n), cond --teacher_forced--> tables (b n q v)                           all at once
    decoder    start(lanes, levels, cond) --> tables, state;   symbols --step--> tables, state    step by step

Positions are coded in order, and within a position the codebooks in order. A table is the cumulative form of a
distribution in units of 2**-24 (``bitstream/range_coder.py``): it rises from 0 to 2**24 by at least 1 a symbol; the
tables of smaller alphabets are padded with 2**24. Both sides give the same tables, bit for bit.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from jaxtyping import Int, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.codes import Shape
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError

PRECISION = 24
TOTAL = 1 << PRECISION

State = TypeVar("State")


class TokenPrior(Configured, nn.Module, ABC, Generic[State]):
    """Tables for the codes of one stream, its grid flattened to ``n`` positions.

    ``alphabet``: sizes of the codebooks, as of ``Stream``; a stream may have only the first of them (levels).
    The ``lanes`` of a batch are coded side by side and know nothing of each other.

    ``conditions``: alphabets of other codes ``cond (b c n)`` that the receiver has before, one of each at every
    position (of a coarser stream; of a class, repeated). Without any, ``cond`` is None.
    """

    alphabet: Shape
    conditions: Shape = ()

    @abstractmethod
    def parallel(self, levels: int) -> int:
        """Codebooks whose tables one step gives, of ``levels``: all, or 1 where each depends on the one before."""

    @abstractmethod
    def teacher_forced(
        self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None = None
    ) -> Int64[Tensor, "b n q v"]:
        """The tables of all codes. Raises CodecError for codes outside the alphabet."""

    def intervals(
        self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None = None
    ) -> tuple[Int64[Tensor, "b n q"], Int64[Tensor, "b n q"]]:
        """Lower and upper end of the interval of each code in its table of ``teacher_forced``."""
        return ends_of(self.teacher_forced(codes, cond), codes)

    @abstractmethod
    def start(
        self, lanes: int, levels: int, cond: Int64[Tensor, "_ c m"] | None = None
    ) -> tuple[Int64[Tensor, "lanes k v"], State]:
        """The tables of the first step, and the state that the next one needs; ``cond``: of all positions."""

    @abstractmethod
    def step(self, state: State, symbols: Int64[Tensor, "lanes k"]) -> tuple[Int64[Tensor, "lanes k v"], State]:
        """The tables after ``symbols``, those of the last tables. The state given is used up: only the new one counts.

        A batch may shrink: with fewer symbols than lanes, the first lanes go on.
        """

    @property
    def device(self) -> torch.device:
        """Where its integers are; codes and conditions must be there too."""
        return next(self.buffers()).device

    def check(self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None) -> None:
        """Raises CodecError unless the codes are of the first levels of the alphabet, and ``cond`` is what it needs."""
        self.check_levels(codes.shape[1])
        check_range(codes, self.alphabet[: codes.shape[1]], "codes")
        self.check_cond(cond)
        if cond is not None and (len(cond), cond.shape[2]) != (len(codes), codes.shape[2]):
            raise CodecError(f"conditions of shape {tuple(cond.shape)} for codes of shape {tuple(codes.shape)}")

    def check_levels(self, levels: int) -> None:
        if not 1 <= levels <= len(self.alphabet):
            raise CodecError(f"{levels} levels: this prior knows 1 to {len(self.alphabet)}")

    def check_cond(self, cond: Int64[Tensor, "_ c m"] | None) -> None:
        rows = 0 if cond is None else cond.shape[1]
        if rows != len(self.conditions):
            raise CodecError(f"{rows} conditions given, this prior needs {len(self.conditions)}")
        if cond is not None:
            check_range(cond, self.conditions, "conditions")


def check_range(codes: Int64[Tensor, "b q n"], alphabet: Shape, what: str) -> None:
    """Raises CodecError unless each row is within its alphabet; ``what``: for the message."""
    limits = codes.new_tensor(alphabet).view(1, -1, 1)
    if not bool(((codes >= 0) & (codes < limits)).all()):
        low, high = int(codes.min()), int(codes.max())
        raise CodecError(f"{what} of {low} to {high}: the alphabets of the prior are {alphabet}")


def tables_of(counts: Int[Tensor, "*rows v"], alphabet: Sequence[int]) -> Int64[Tensor, "*rows w"]:
    """Tables of counts: ``c_i = i + floor(C_i * (2**24 - V) / C_V)`` (PEM-24, 9), with C the sums of those before.

    ``alphabet``: V of each codebook, the last axis but one; counts beyond it are 0. Sums are 1 to 2**38 - 1, and what
    the type of the counts holds.
    """
    below = F.pad(_sums(counts), (1, 0)).long()
    sizes = _sizes(counts, alphabet)
    index = torch.arange(below.shape[-1], device=counts.device)
    share = torch.div(below * (TOTAL - sizes), below[..., -1:], rounding_mode="floor")
    return torch.minimum(index, sizes) + share


def ends_of_counts(
    counts: Int[Tensor, "b n q v"], codes: Int64[Tensor, "b q n"], alphabet: Sequence[int]
) -> tuple[Int64[Tensor, "b n q"], Int64[Tensor, "b n q"]]:
    """``ends_of`` the tables of counts, of which no more is computed."""
    symbols, sizes = codes.transpose(1, 2).unsqueeze(-1), _sizes(counts, alphabet)
    sums = _sums(counts)
    upper = sums.gather(-1, symbols).long()
    lower = upper - counts.gather(-1, symbols)
    lower, upper = (
        torch.div(below * (TOTAL - sizes), sums[..., -1:].long(), rounding_mode="floor") for below in (lower, upper)
    )
    return (symbols + lower).squeeze(-1), (symbols + 1 + upper).squeeze(-1)


def _sums(counts: Int[Tensor, "*rows v"]) -> Int[Tensor, "*rows v"]:
    return counts.cumsum(-1, dtype=counts.dtype)


def _sizes(counts: Int[Tensor, "*rows v"], alphabet: Sequence[int]) -> Int64[Tensor, "q 1"]:
    return torch.tensor(tuple(alphabet), device=counts.device).unsqueeze(-1)


def before(codes: Int64[Tensor, "b q n"], alphabet: Shape) -> Int64[Tensor, "b n q"]:
    """The codes of the position before; the first has the symbol after the alphabet."""
    first = codes.new_tensor(alphabet[: codes.shape[1]]).view(1, -1, 1).expand(len(codes), -1, 1)
    return torch.cat([first, codes[..., :-1]], -1).transpose(1, 2)


def ends_of(
    tables: Int64[Tensor, "b n q v"], codes: Int64[Tensor, "b q n"]
) -> tuple[Int64[Tensor, "b n q"], Int64[Tensor, "b n q"]]:
    """Lower and upper end of the interval of each code."""
    symbols = codes.transpose(1, 2).unsqueeze(-1)
    return tables.gather(-1, symbols).squeeze(-1), tables.gather(-1, symbols + 1).squeeze(-1)


def table_bits(prior: TokenPrior, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None = None) -> float:
    """Bits that the codes take with the tables of ``prior``, as written but for the coder's few at the end."""
    return _bits(*prior.intervals(codes, cond))


def interval_bits(tables: Int64[Tensor, "b n q v"], codes: Int64[Tensor, "b q n"]) -> float:
    """Bits that codes take with their tables."""
    return _bits(*ends_of(tables, codes))


def _bits(lower: Tensor, upper: Tensor) -> float:
    return float((PRECISION - (upper - lower).double().log2()).sum())
