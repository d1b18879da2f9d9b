"""What priors in the exact integers of PEM-24 share: guards, the known answer, the stack over time."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int32, Int64, UInt8
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.exact import exact
from neuralcodecs.priors.arithmetic import (
    RESIDUAL,
    Lookups,
    check_alphabet,
    check_sizes,
)
from neuralcodecs.priors.prior import State, TokenPrior, before, ends_of_counts, table_bits, tables_of
from neuralcodecs.priors.stack import Cache, IntegerEmbeddings, IntegerHead, IntegerStack

BLOCK = 128
"""Positions that the encoder computes at once: bounds memory, changes nothing."""
ANSWER_STEPS = 64
HASH_BYTES = 32
FINGERPRINT_BYTES = 8


@dataclass
class Past:
    """What the stack over time has seen, the conditions of all positions, and the position that is next."""

    caches: list[Cache]
    cond: Int64[Tensor, "_ c m"]
    position: int = 0


class Sealed(Configured, nn.Module, ABC):
    """A prior in exact integers with the answer that a device must know.

    The first use on each device and number format computes the tables of a fixed input; where they differ from the
    model file's it is refused: run it on the CPU, or as float64 (``prior.double()``).
    """

    alphabet: Shape
    conditions: Shape
    answer: UInt8[Tensor, " bytes"]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("answer", torch.zeros(HASH_BYTES, dtype=torch.uint8))
        self._verified: set[tuple[torch.device, torch.dtype]] = set()
        self.register_load_state_dict_post_hook(_forget)

    @abstractmethod
    def fixed_tables(self, codes: Int64[Tensor, "1 q n"], cond: Int64[Tensor, "1 c n"]) -> Int64[Tensor, "1 n q v"]:
        """Tables of the fixed input, unverified."""

    @abstractmethod
    def ideal_bits(self, codes: Int64[Tensor, "b q *grid"], cond: Int64[Tensor, "_ c *grids"] | None = None) -> float:
        """Bits that the codes take, each grid coded as a whole, but for the coder's few at the end."""

    @property
    def fingerprint(self) -> bytes:
        """Eight bytes of the SHA-256 of all integers of the model, in order of their names: for headers of files."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            exponent = value.log2() if name.endswith(".scale") else value
            digest.update(name.encode() + exponent.long().cpu().numpy().astype("<i8").tobytes())
        return digest.digest()[:FINGERPRINT_BYTES]

    def verify(self) -> None:
        """Raises CodecError where this device computes other tables than the one that exported the model."""
        device, dtype = self.answer.device, next(b.dtype for b in self.buffers() if b.is_floating_point())
        if (device, dtype) in self._verified:
            return
        if self.known_answer() != bytes(self.answer.tolist()):
            raise CodecError(
                f"the prior computes other probabilities on {device} in {dtype} than its file says: "
                "it is damaged or this device is not exact; use the CPU"
            )
        self._verified.add((device, dtype))

    def seal(self) -> None:
        """Store the answer that every other device must give: the last step of an export."""
        self.answer.copy_(torch.tensor(list(self.known_answer()), dtype=torch.uint8))

    def known_answer(self) -> bytes:
        """SHA-256 of the tables of 64 fixed positions, as 64-bit words with the lowest byte first."""
        number = torch.arange(len(self.alphabet) * ANSWER_STEPS).view(1, len(self.alphabet), -1)
        codes = number * 7919 % torch.tensor(self.alphabet).view(1, -1, 1)
        cond = torch.arange(ANSWER_STEPS) * 104729 % torch.tensor(self.conditions, dtype=torch.int64).view(1, -1, 1)
        with exact():
            tables = self.fixed_tables(codes.to(self.answer.device), cond.to(self.answer.device))
        return hashlib.sha256(tables.cpu().numpy().astype("<i8").tobytes()).digest()


class IntegerPrior(Sealed, TokenPrior[State]):
    """What both autoregressive kinds share: the guard around every computation, and the stack over time."""

    def __init__(self, alphabet: Shape, dim: int, heads: int, layers: int, window: int, conditions: Shape) -> None:
        super().__init__()
        check_sizes(dim, heads, window)
        self.alphabet = check_alphabet(alphabet)
        self.conditions = tuple(conditions)
        self.lookups = Lookups(dim)
        self.embeddings = IntegerEmbeddings(self.alphabet, dim)
        self.given = IntegerEmbeddings(self.conditions, dim)
        self.time = IntegerStack(dim, heads, layers, window)
        self.head = IntegerHead(self.alphabet, dim)

    def teacher_forced(
        self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None = None
    ) -> Int64[Tensor, "b n q v"]:
        self.check(codes, cond)
        self.verify()
        with exact():
            return self._all(codes, self._cond(cond, len(codes)))

    def intervals(
        self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None = None
    ) -> tuple[Int64[Tensor, "b n q"], Int64[Tensor, "b n q"]]:
        self.check(codes, cond)
        self.verify()
        alphabet = self.alphabet[: codes.shape[1]]
        with exact():
            blocks = self._blocks(codes, self._cond(cond, len(codes)))
            ends = [ends_of_counts(self._counts(frames, own), own.transpose(1, 2), alphabet) for frames, own in blocks]
        lower, upper = zip(*ends, strict=True)
        return torch.cat(lower, 1), torch.cat(upper, 1)

    def ideal_bits(self, codes: Int64[Tensor, "b q *grid"], cond: Int64[Tensor, "_ c *grids"] | None = None) -> float:
        return table_bits(self, codes.flatten(2), None if cond is None else cond.flatten(2))

    def fixed_tables(self, codes: Int64[Tensor, "1 q n"], cond: Int64[Tensor, "1 c n"]) -> Int64[Tensor, "1 n q v"]:
        return self._all(codes, cond)

    def start(
        self, lanes: int, levels: int, cond: Int64[Tensor, "_ c m"] | None = None
    ) -> tuple[Int64[Tensor, "lanes k v"], State]:
        self.check_levels(levels)
        self.check_cond(cond)
        self.verify()
        with exact():
            return self._first(self._beginning(lanes, levels), self._cond(cond, lanes))

    def step(self, state: State, symbols: Int64[Tensor, "lanes k"]) -> tuple[Int64[Tensor, "lanes k v"], State]:
        with exact():
            return self._next(state, symbols)

    def _all(self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"]) -> Int64[Tensor, "b n q v"]:
        alphabet = self.alphabet[: codes.shape[1]]
        return torch.cat([tables_of(self._counts(*block), alphabet) for block in self._blocks(codes, cond)], 1)

    @abstractmethod
    def _counts(self, frames: Float[Tensor, "b n d"], codes: Int64[Tensor, "b n q"]) -> Int32[Tensor, "b n q v"]:
        """What the tables of the codes of some frames are made of."""

    @abstractmethod
    def _first(
        self, beginning: Int64[Tensor, "lanes 1 q"], cond: Int64[Tensor, "_ c m"]
    ) -> tuple[Int64[Tensor, "lanes k v"], State]: ...

    @abstractmethod
    def _next(self, state: State, symbols: Int64[Tensor, "lanes k"]) -> tuple[Int64[Tensor, "lanes k v"], State]: ...

    def _frames(self, previous: Int64[Tensor, "b n q"], past: Past) -> Float[Tensor, "b n d"]:
        """What the stack over time says of frames, given the codes of the frame before each."""
        now = past.cond[: len(previous), :, past.position : past.position + previous.shape[1]].transpose(1, 2)
        x = self.embeddings(previous).sum(-2) + self.given(now).sum(-2)
        past.position += previous.shape[1]
        return self.time(x.clamp_(-RESIDUAL, RESIDUAL), self.lookups, past.caches)

    def _blocks(self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"]) -> list[tuple[Tensor, Tensor]]:
        """Frames ``(b, n, d)`` and codes ``(b, n, q)`` of one block of positions after the other."""
        past = Past(self.time.fresh(), cond)
        previous = before(codes, self.alphabet).split(BLOCK, 1)
        return [
            (self._frames(block, past), own)
            for block, own in zip(previous, codes.transpose(1, 2).split(BLOCK, 1), strict=True)
        ]

    def _cond(self, cond: Int64[Tensor, "_ c m"] | None, lanes: int) -> Int64[Tensor, "b c n"]:
        """Without conditions no rows, for any number of positions."""
        return self.embeddings.offsets.new_zeros(lanes, 0, 1 << 31) if cond is None else cond

    def _beginning(self, lanes: int, levels: int) -> Int64[Tensor, "lanes 1 q"]:
        return self.embeddings.offsets.new_tensor(self.alphabet[:levels]).expand(lanes, 1, -1)


def _forget(prior: nn.Module, _: object) -> None:
    """Other weights, other answers."""
    cast(Sealed, prior)._verified.clear()
