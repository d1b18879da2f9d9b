"""Priors that count: equally likely codes, counts of a training set, counts of what was coded so far."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn import functional as F

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.priors.arithmetic import check_alphabet
from neuralcodecs.priors.prior import TokenPrior, ends_of, tables_of

LARGEST_TABLE = 2**18
TABLE_ENTRIES = 2**20
"""Of an adaptive prior that are computed at once while encoding: 8 MiB, several times."""
LARGEST_INCREMENT = 1024
MORE = torch.tensor([2**k for k in range(11)], dtype=torch.int64)
"""What a static prior may add to every count: 1, up to 1024 where counts of a few files say nothing of others."""


def present(alphabet: Shape) -> Int64[Tensor, "q v"]:
    """1 where a codebook has the symbol, 0 in the padding."""
    return (torch.arange(max(alphabet)) < torch.tensor(alphabet).unsqueeze(-1)).long()


@dataclass
class FixedState:
    """The same tables at every step."""

    tables: Int64[Tensor, "q v"]


class StaticPrior(TokenPrior[FixedState]):
    """One table for each codebook, counted on a training set (``count``); before that all codes are equally likely.

    Args:
        alphabet: sizes of the codebooks, each 1 to 2**18.
    """

    tables: Int64[Tensor, "q v"]
    counts: Int64[Tensor, "q v"]
    costs: Float64[Tensor, "q k"]

    def __init__(self, alphabet: Shape) -> None:
        super().__init__()
        self.alphabet = check_alphabet(alphabet, LARGEST_TABLE)
        self.register_buffer("counts", torch.zeros_like(present(self.alphabet)), persistent=False)
        costs = torch.zeros(len(self.alphabet), len(MORE), dtype=torch.float64)
        self.register_buffer("costs", costs, persistent=False)
        self.register_buffer("tables", tables_of(present(self.alphabet), self.alphabet))

    def count(self, codes: Int64[Tensor, "b q n"]) -> None:
        """Count codes of a training set, any number of times, best file after file.

        What is added to the count of every symbol is, for each codebook, that with which the counts before have
        foretold every new file best: of few files a count of 0 or 1 may mean little. After one file it is 1.
        """
        self.check(codes, None)
        for level, row in enumerate(codes.unbind(1)):
            added = torch.bincount(row.flatten(), minlength=self.counts.shape[1])
            self.costs[level] += self._foretold(level, added)
            self.counts[level] += added
        more = MORE.to(codes.device)[self.costs.argmin(1)].unsqueeze(-1) * present(self.alphabet).to(codes.device)
        self.tables.copy_(tables_of(self.counts + more, self.alphabet))

    def _foretold(self, level: int, added: Int64[Tensor, " v"]) -> Float64[Tensor, " k"]:
        """Bits of new codes given the counts so far, with each of ``MORE`` added to these."""
        (seen,) = added.nonzero(as_tuple=True)
        more = MORE.to(added.device).unsqueeze(-1)
        share = (self.counts[level, seen] + more).double()
        total = (self.counts[level].sum() + more * self.alphabet[level]).double()
        return ((total.log2() - share.log2()) * added[seen]).sum(-1)

    def parallel(self, levels: int) -> int:
        return levels

    def teacher_forced(
        self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None = None
    ) -> Int64[Tensor, "b n q v"]:
        self.check(codes, cond)
        batch, levels, positions = codes.shape
        return self.tables[:levels].expand(batch, positions, -1, -1)

    def start(
        self, lanes: int, levels: int, cond: Int64[Tensor, "_ c m"] | None = None
    ) -> tuple[Int64[Tensor, "lanes k v"], FixedState]:
        self.check_levels(levels)
        self.check_cond(cond)
        tables = self.tables[:levels]
        return tables.expand(lanes, -1, -1), FixedState(tables)

    def step(
        self, state: FixedState, symbols: Int64[Tensor, "lanes k"]
    ) -> tuple[Int64[Tensor, "lanes k v"], FixedState]:
        return state.tables.expand(len(symbols), -1, -1), state


@dataclass
class CountState:
    """What every lane has seen."""

    counts: Int64[Tensor, "lanes q v"]


class AdaptivePrior(TokenPrior[CountState]):
    """Counts of the codes before, in each lane and codebook: needs no training and no model file.

    Args:
        alphabet: sizes of the codebooks, each 1 to 4096: every position has its own table.
        increment: what one occurrence adds to a symbol's count, which starts at 1; 1 to 1024.
    """

    present: Int64[Tensor, "q v"]

    def __init__(self, alphabet: Shape, increment: int = 32) -> None:
        super().__init__()
        if not 1 <= increment <= LARGEST_INCREMENT:
            raise CodecError(f"increment {increment} of an adaptive prior: 1 to {LARGEST_INCREMENT}")
        self.alphabet = check_alphabet(alphabet)
        self.increment = increment
        self.register_buffer("present", present(self.alphabet), persistent=False)

    def parallel(self, levels: int) -> int:
        return levels

    def teacher_forced(
        self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None = None
    ) -> Int64[Tensor, "b n q v"]:
        self.check(codes, cond)
        seen = F.one_hot(codes[..., :-1].transpose(1, 2), self.present.shape[1]).cumsum(1)
        before = F.pad(seen, (0, 0, 0, 0, 1, 0))[:, : codes.shape[2]]
        levels = codes.shape[1]
        return tables_of(self.present[:levels] + self.increment * before, self.alphabet[:levels])

    def intervals(
        self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None = None
    ) -> tuple[Int64[Tensor, "b n q"], Int64[Tensor, "b n q"]]:
        """Block after block of positions: the tables of a chunk are gigabytes where alphabets are large."""
        self.check(codes, cond)
        size, levels = self.present.shape[1], codes.shape[1]
        counts = self.present[:levels].repeat(len(codes), 1, 1)
        lower: list[Tensor] = []
        upper: list[Tensor] = []
        for block in codes.split(max(1, TABLE_ENTRIES // counts.numel()), 2):
            own = F.one_hot(block.transpose(1, 2), size)
            seen = own.cumsum(1) - own
            tables = tables_of(counts.unsqueeze(1) + self.increment * seen, self.alphabet[:levels])
            for ends, found in zip((lower, upper), ends_of(tables, block), strict=True):
                ends.append(found)
            counts = counts + self.increment * own.sum(1)
        return torch.cat(lower, 1), torch.cat(upper, 1)

    def start(
        self, lanes: int, levels: int, cond: Int64[Tensor, "_ c m"] | None = None
    ) -> tuple[Int64[Tensor, "lanes k v"], CountState]:
        self.check_levels(levels)
        self.check_cond(cond)
        counts = self.present[:levels].repeat(lanes, 1, 1)
        return tables_of(counts, self.alphabet[:levels]), CountState(counts)

    def step(
        self, state: CountState, symbols: Int64[Tensor, "lanes k"]
    ) -> tuple[Int64[Tensor, "lanes k v"], CountState]:
        counts = state.counts[: len(symbols)]
        counts.scatter_add_(-1, symbols.unsqueeze(-1), torch.full_like(symbols, self.increment).unsqueeze(-1))
        return tables_of(counts, self.alphabet[: symbols.shape[1]]), CountState(counts)
