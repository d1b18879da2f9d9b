"""Autoregressive priors in the exact integers of PEM-24: what files are coded with (``export.py`` makes them)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from neuralcodecs.codes import Shape
from neuralcodecs.priors.arithmetic import RESIDUAL
from neuralcodecs.priors.integer import IntegerPrior, Past
from neuralcodecs.priors.stack import Cache, IntegerEmbeddings, IntegerStack


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

    def _counts(self, frames: Float[Tensor, "b n d"], codes: Int64[Tensor, "b n q"]) -> Int32[Tensor, "b n q v"]:
        return self.head.counts(frames, self.lookups, 0, codes.shape[2])

    def _first(
        self, beginning: Int64[Tensor, "lanes 1 q"], cond: Int64[Tensor, "_ c m"]
    ) -> tuple[Int64[Tensor, "lanes k v"], Past]:
        return self._next(Past(self.time.fresh(), cond), beginning[:, 0])

    def _next(self, state: Past, symbols: Int64[Tensor, "lanes k"]) -> tuple[Int64[Tensor, "lanes k v"], Past]:
        frames = self._frames(symbols.unsqueeze(1), state)
        return self.head(frames[:, 0], self.lookups, 0, symbols.shape[1]), state


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

    def _counts(self, frames: Float[Tensor, "b n d"], codes: Int64[Tensor, "b n q"]) -> Int32[Tensor, "b n q v"]:
        told = self.told(torch.cat([torch.zeros_like(codes[..., :1]), codes[..., :-1]], -1))
        x = (frames.unsqueeze(-2) + told).clamp_(-RESIDUAL, RESIDUAL)
        x = self.depth(x.flatten(0, 1), self.lookups, self.depth.fresh()).view_as(x)
        heads = (self.head.counts(x[..., n, :], self.lookups, n, n + 1) for n in range(codes.shape[2]))
        return torch.cat(list(heads), -2)

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
