"""Autoregressive priors in the exact integers of PEM-24: what files are coded with (``export.py`` makes them)."""

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.priors.arithmetic import (
    RESIDUAL,
    Lookups,
    check_alphabet,
    check_sizes,
    exact,
)
from neuralcodecs.priors.prior import State, TokenPrior, before
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


class IntegerPrior(TokenPrior[State]):
    """What both kinds share: the guard around every computation, and the answer that a device must know.

    The first use on each device and number format computes the tables of a fixed input; where they differ from the
    model file's it is refused: run it on the CPU, or as float64 (``prior.double()``).
    """

    answer: UInt8[Tensor, " bytes"]

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
        self.register_buffer("answer", torch.zeros(HASH_BYTES, dtype=torch.uint8))
        self._verified: set[tuple[torch.device, torch.dtype]] = set()
        self.register_load_state_dict_post_hook(_forget)

    @property
    def fingerprint(self) -> bytes:
        """Eight bytes of the SHA-256 of all integers of the model, in order of their names: for headers of files."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            exponent = value.log2() if name.endswith(".scale") else value
            digest.update(name.encode() + exponent.long().cpu().numpy().astype("<i8").tobytes())
        return digest.digest()[:FINGERPRINT_BYTES]

    def teacher_forced(
        self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None = None
    ) -> Int64[Tensor, "b n q v"]:
        self.check(codes, cond)
        self.verify()
        with exact():
            return self._all(codes, self._cond(cond, len(codes)))

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

    def verify(self) -> None:
        """Raises CodecError where this device computes other tables than the one that exported the model."""
        vectors = self.embeddings.vectors
        if (vectors.device, vectors.dtype) in self._verified:
            return
        if self.known_answer() != bytes(self.answer.tolist()):
            raise CodecError(
                f"the prior computes other probabilities on {vectors.device} in {vectors.dtype} than its file says: "
                "it is damaged or this device is not exact; use the CPU"
            )
        self._verified.add((vectors.device, vectors.dtype))

    def seal(self) -> None:
        """Store the answer that every other device must give: the last step of an export."""
        self.answer.copy_(torch.tensor(list(self.known_answer()), dtype=torch.uint8))

    def known_answer(self) -> bytes:
        """SHA-256 of the tables of 64 fixed positions, as 64-bit words with the lowest byte first."""
        number = torch.arange(len(self.alphabet) * ANSWER_STEPS).view(1, len(self.alphabet), -1)
        codes = number * 7919 % torch.tensor(self.alphabet).view(1, -1, 1)
        cond = torch.arange(ANSWER_STEPS) * 104729 % torch.tensor(self.conditions, dtype=torch.int64).view(1, -1, 1)
        with exact():
            tables = self._all(codes.to(self.answer.device), cond.to(self.answer.device))
        return hashlib.sha256(tables.cpu().numpy().astype("<i8").tobytes()).digest()

    @abstractmethod
    def _all(self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"]) -> Int64[Tensor, "b n q v"]: ...

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
    cast(IntegerPrior[Any], prior)._verified.clear()


class IntegerParallel(IntegerPrior[Past]):
    """``ParallelTransformer``, exact; the arguments are the same."""

    def __init__(
        self,
        alphabet: Shape,
        dim: int = 128,
        heads: int = 4,
        layers: int = 4,
        window: int = 262,
        conditions: Shape = (),
    ) -> None:
        super().__init__(alphabet, dim, heads, layers, window, conditions)

    def parallel(self, levels: int) -> int:
        return levels

    def _all(self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"]) -> Int64[Tensor, "b n q v"]:
        return torch.cat([self._tables(frames, codes.shape[1]) for frames, _ in self._blocks(codes, cond)], 1)

    def _first(
        self, beginning: Int64[Tensor, "lanes 1 q"], cond: Int64[Tensor, "_ c m"]
    ) -> tuple[Int64[Tensor, "lanes k v"], Past]:
        return self._next(Past(self.time.fresh(), cond), beginning[:, 0])

    def _next(self, state: Past, symbols: Int64[Tensor, "lanes k"]) -> tuple[Int64[Tensor, "lanes k v"], Past]:
        frames = self._frames(symbols.unsqueeze(1), state)
        return self._tables(frames[:, 0], symbols.shape[1]), state

    def _tables(self, frames: Float[Tensor, "*rows d"], levels: int) -> Int64[Tensor, "*rows q v"]:
        return self.head(frames, self.lookups, 0, levels)


@dataclass
class FactorisedState:
    """``frame``: what the stack over time says of the current frame; ``codes``: its codes so far, one of each level."""

    levels: int
    past: Past
    depth: list[Cache]
    frame: Float[Tensor, "lanes d"]
    codes: list[Int64[Tensor, "lanes 1"]]


class IntegerFactorised(IntegerPrior[FactorisedState]):
    """``FactorisedTransformer``, exact; the arguments are the same."""

    def __init__(
        self,
        alphabet: Shape,
        dim: int = 128,
        heads: int = 4,
        layers: int = 4,
        window: int = 262,
        depth_layers: int = 1,
        conditions: Shape = (),
    ) -> None:
        super().__init__(alphabet, dim, heads, layers, window, conditions)
        self.told = IntegerEmbeddings((1, *self.alphabet[:-1]), dim)
        self.depth = IntegerStack(dim, heads, depth_layers, len(self.alphabet))

    def parallel(self, levels: int) -> int:
        return 1

    def _all(self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"]) -> Int64[Tensor, "b n q v"]:
        return torch.cat([self._levels(frames, own) for frames, own in self._blocks(codes, cond)], 1)

    def _levels(self, frames: Float[Tensor, "b n d"], codes: Int64[Tensor, "b n q"]) -> Int64[Tensor, "b n q v"]:
        told = self.told(torch.cat([torch.zeros_like(codes[..., :1]), codes[..., :-1]], -1))
        x = (frames.unsqueeze(-2) + told).clamp_(-RESIDUAL, RESIDUAL)
        x = self.depth(x.flatten(0, 1), self.lookups, self.depth.fresh()).view_as(x)
        tables = [self.head(x[..., level, :], self.lookups, level, level + 1) for level in range(codes.shape[2])]
        return torch.cat(tables, -2)

    def _first(
        self, beginning: Int64[Tensor, "lanes 1 q"], cond: Int64[Tensor, "_ c m"]
    ) -> tuple[Int64[Tensor, "lanes k v"], FactorisedState]:
        past = Past(self.time.fresh(), cond)
        frame = self._frames(beginning, past)[:, 0]
        return self._level(FactorisedState(beginning.shape[2], past, self.depth.fresh(), frame, []))

    def _next(
        self, state: FactorisedState, symbols: Int64[Tensor, "lanes k"]
    ) -> tuple[Int64[Tensor, "lanes k v"], FactorisedState]:
        codes = [row[: len(symbols)] for row in state.codes] + [symbols]
        frame = state.frame[: len(symbols)]
        depth = state.depth
        if len(codes) == state.levels:
            frame = self._frames(torch.cat(codes, -1).unsqueeze(1), state.past)[:, 0]
            codes, depth = [], self.depth.fresh()
        return self._level(FactorisedState(state.levels, state.past, depth, frame, codes))

    def _level(self, state: FactorisedState) -> tuple[Int64[Tensor, "lanes k v"], FactorisedState]:
        level = len(state.codes)
        told = state.codes[-1] if level else torch.zeros_like(state.frame[:, :1], dtype=torch.int64)
        x = (state.frame.unsqueeze(1) + self.told(told, level)).clamp_(-RESIDUAL, RESIDUAL)
        x = self.depth(x, self.lookups, state.depth)
        return self.head(x[:, 0], self.lookups, level, level + 1), state
