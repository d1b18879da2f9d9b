"""Codes of one stream to bytes and back, by a prior's tables and the range coder."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from neuralcodecs.bitstream.range_coder import TOTAL, RangeDecoder, RangeEncoder, ideal_bits
from neuralcodecs.errors import CodecError
from neuralcodecs.priors.prior import TokenPrior

SHORTEST_LANE = 128
"""Positions: cutting a stream into independent lanes of this length costs 0.3 to 0.7 % of its bits."""
MOST_LANES = 128
TABLE_ENTRIES = 2**23
"""That are computed at once while encoding: 64 MiB."""


class TokenCoder(ABC):
    """Codes ``(q, n)``, the grid flattened, to a payload and back."""

    @abstractmethod
    def encode(self, codes: Int64[Tensor, "q n"]) -> bytes:
        """Raises CodecError for codes outside the alphabet."""

    @abstractmethod
    def decode(self, data: bytes, levels: int, positions: int) -> Int64[Tensor, "q n"]:
        """Raises CodecError for a payload that is not what ``encode`` writes for ``levels`` and ``positions``.

        A payload damaged into the encoding of other codes is not found: see ``RangeDecoder``.
        """

    @abstractmethod
    def bits(self, codes: Int64[Tensor, "q n"]) -> float:
        """What the codes take at least: the sum of -log2 of their probabilities."""


class StaticCoder(TokenCoder):
    """One table for each codebook; codebook after codebook, since that is some 20 times faster than a table a symbol.

    Args:
        tables: ``(q, v)``, padded with 2**24, as of ``StaticPrior``.
    """

    def __init__(self, tables: Int64[Tensor, "q v"]) -> None:
        self.tables = [row[: int((row < TOTAL).sum()) + 1] for row in tables.cpu().numpy()]

    def encode(self, codes: Int64[Tensor, "q n"]) -> bytes:
        encoder = RangeEncoder()
        for row, table in zip(codes.cpu().numpy(), self._first(len(codes)), strict=True):
            encoder.encode(row, table)
        return encoder.finish()

    def decode(self, data: bytes, levels: int, positions: int) -> Int64[Tensor, "q n"]:
        decoder = RangeDecoder(data)
        rows = [decoder.decode(positions, table) for table in self._first(levels)]
        decoder.finish()
        return torch.from_numpy(np.stack(rows))

    def bits(self, codes: Int64[Tensor, "q n"]) -> float:
        rows = zip(codes.cpu().numpy(), self._first(len(codes)), strict=True)
        return sum(ideal_bits(table[row], table[row + 1]) for row, table in rows)

    def _first(self, levels: int) -> list[np.ndarray]:
        if not 1 <= levels <= len(self.tables):
            raise CodecError(f"{levels} levels: there are tables of 1 to {len(self.tables)}")
        return self.tables[:levels]


class LaneCoder(TokenCoder):
    """Tables of a prior; the stream is cut into lanes that are coded side by side, step after step, in one payload.

    Lanes are equally long, but for one position more in the first ones. Within a step the order is lane, codebook.
    ``cond (c n)``, where the prior needs it, is cut the same way; both sides must have the same.

    Args:
        prior: gives the tables, on whatever device it is.
        lanes: of a stream (fewer where it has fewer positions); part of the format. None: see ``lanes_for``.
    """

    def __init__(self, prior: TokenPrior, lanes: int | None = None) -> None:
        if lanes is not None and lanes < 1:
            raise CodecError(f"{lanes} lanes: give 1 or more")
        self.prior = prior
        self.lanes = lanes

    def encode(self, codes: Int64[Tensor, "q n"], cond: Int64[Tensor, "c m"] | None = None) -> bytes:
        encoder = RangeEncoder()
        if codes.shape[1]:
            encoder.encode_intervals(*self._ends(codes, cond))
        return encoder.finish()

    def decode(
        self, data: bytes, levels: int, positions: int, cond: Int64[Tensor, "c m"] | None = None
    ) -> Int64[Tensor, "q n"]:
        decoder = RangeDecoder(data)
        if positions == 0:
            decoder.finish()
            return torch.zeros(levels, 0, dtype=torch.int64)
        lengths = self._lengths(positions)
        group = self.prior.parallel(levels)
        codes = torch.zeros(len(lengths), lengths[0], levels, dtype=torch.int64)
        symbols = torch.zeros(len(lengths), group, dtype=torch.int64)
        tables, state = self.prior.start(len(lengths), levels, self._given(cond, lengths))
        for step in range(lengths[0] * levels // group):
            position, first = divmod(step * group, levels)
            lanes = sum(length > position for length in lengths)
            if step:
                tables, state = self.prior.step(state, symbols[:lanes].to(self.prior.device))
            rows = tables[:lanes].reshape(lanes * group, -1).cpu().numpy()
            symbols = torch.from_numpy(decoder.decode_rows(rows)).view(lanes, group)
            codes[:lanes, position, first : first + group] = symbols
        decoder.finish()
        return torch.cat([lane[:length] for lane, length in zip(codes, lengths, strict=True)]).T.contiguous()

    def bits(self, codes: Int64[Tensor, "q n"], cond: Int64[Tensor, "c m"] | None = None) -> float:
        return ideal_bits(*self._ends(codes, cond)) if codes.shape[1] else 0.0

    def _ends(self, codes: Int64[Tensor, "q n"], cond: Int64[Tensor, "c m"] | None) -> list[np.ndarray]:
        """Lower and upper ends of the intervals of all codes, in the order of the payload."""
        levels, positions = codes.shape
        lengths = self._lengths(positions)
        ends = self._intervals(self._cut(codes, lengths), self._given(cond, lengths))
        return [self._in_order(end, lengths, levels) for end in ends]

    def _lengths(self, positions: int) -> list[int]:
        return lane_lengths(positions, self.lanes)

    def _cut(self, codes: Int64[Tensor, "q n"], lengths: list[int]) -> Int64[Tensor, "lanes q longest"]:
        return side_by_side(codes.to(self.prior.device), lengths)

    def _given(self, cond: Int64[Tensor, "c m"] | None, lengths: list[int]) -> Int64[Tensor, "lanes c longest"] | None:
        if cond is None:
            return None
        if cond.shape[1] != sum(lengths):
            raise CodecError(f"conditions of {cond.shape[1]} positions for codes of {sum(lengths)}: make them equal")
        return self._cut(cond, lengths)

    def _intervals(
        self, lanes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the interval of each code, ``(b, n, q)``, by as many lanes at once as memory is for."""
        together = max(1, TABLE_ENTRIES // (lanes[0].numel() * (max(self.prior.alphabet) + 1)))
        lower, upper = [], []
        for first in range(0, len(lanes), together):
            part = lanes[first : first + together]
            ends = self.prior.intervals(part, None if cond is None else cond[first : first + together])
            lower.append(ends[0].cpu().numpy())
            upper.append(ends[1].cpu().numpy())
        return np.concatenate(lower), np.concatenate(upper)

    def _in_order(self, values: np.ndarray, lengths: list[int], levels: int) -> Int64[np.ndarray, " symbols"]:
        """Values ``(b, n, q)`` of all codes, without padding, in the order of the payload."""
        group = self.prior.parallel(levels)
        lanes, longest, _ = values.shape
        steps = values.reshape(lanes, longest, levels // group, group).transpose(1, 2, 0, 3)
        there = np.arange(longest)[:, None] < np.array(lengths)
        return steps[np.broadcast_to(there[:, None, :, None], steps.shape)]


def lanes_for(positions: int) -> int:
    """As many lanes as are worth it: each at least 128 positions long, at most 128."""
    return max(1, min(MOST_LANES, positions // SHORTEST_LANE))


def lane_lengths(positions: int, lanes: int | None = None) -> list[int]:
    """Of so many lanes (None: ``lanes_for``), none of them empty; the first ones are a position longer."""
    lanes = min(lanes or lanes_for(positions), positions)
    return [positions // lanes + (lane < positions % lanes) for lane in range(lanes)]


def side_by_side(codes: Int64[Tensor, "q n"], lengths: list[int]) -> Int64[Tensor, "lanes q longest"]:
    """Consecutive lanes as a batch, the shorter ones padded with a zero."""
    lanes = [lane.T for lane in codes.split(lengths, 1)]
    return torch.nn.utils.rnn.pad_sequence(lanes, batch_first=True).transpose(1, 2)
