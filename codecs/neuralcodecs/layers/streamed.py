"""Layers that take their input in pieces of any size and give, put together, what they give for the whole.

A layer keeps no state of its own: it comes and goes with every call, so one network serves any number of streams.
Other codecs keep it in the module (Mimi, https://arxiv.org/abs/2410.00037, section 3.3), one set of streams at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from neuralcodecs.errors import CodecError

Signature = tuple[object, ...]


@dataclass(frozen=True)
class State:
    """What a layer remembers of the streams of a batch between two steps.

    ``tensors``: one row per stream. ``phase``: what all streams of the batch share. ``parts``: of the layers inside.
    """

    tensors: tuple[Tensor, ...] = ()
    phase: tuple[int, ...] = ()
    parts: tuple["State", ...] = ()

    def signature(self) -> Signature:
        """Equal for states that can be in one batch: whose streams stand at the same place within a frame."""
        shapes = tuple(tuple(tensor.shape[1:]) for tensor in self.tensors)
        return (shapes, self.phase, tuple(part.signature() for part in self.parts))

    def split(self, sizes: Sequence[int]) -> list["State"]:
        """States of consecutive streams, so many each."""
        tensors = [tensor.split(list(sizes)) for tensor in self.tensors]
        parts = [part.split(sizes) for part in self.parts]
        return [State(tuple(t[i] for t in tensors), self.phase, tuple(p[i] for p in parts)) for i in range(len(sizes))]

    @staticmethod
    def stack(states: Sequence["State"]) -> "State":
        """One state of all streams, in order; raises CodecError when they do not stand at the same place."""
        if len({state.signature() for state in states}) != 1:
            raise CodecError(
                f"{len(states)} streams are not at the same place within a frame: push them apart, or with push_each"
            )
        tensors = tuple(torch.cat(rows) for rows in zip(*(state.tensors for state in states), strict=True))
        parts = tuple(State.stack(parts) for parts in zip(*(state.parts for state in states), strict=True))
        return State(tensors, states[0].phase, parts)


class Streamed(nn.Module):
    """The contract of a part that can be streamed along its one axis. By default it cannot be.

        state = start(batch);  y, state = step(x, state, last=False) ...;  y, _ = step(x, state, last=True)

    The outputs joined are ``forward`` of the inputs joined, whatever their sizes (0 too).
    """

    def start(self, batch: int) -> State:
        """The state before the first position of ``batch`` streams."""
        raise self.unable("it has no state from one piece to the next")

    def step(self, x: Tensor, state: State, last: bool) -> tuple[Tensor, State]:
        """All outputs that are certain once ``x`` is known, ``(b, c, 0)`` if none; ``last`` ends the streams."""
        raise self.unable("it has no state from one piece to the next")

    def reach(self, position: int) -> int:
        """The last input position that must be known before the output at ``position`` is certain."""
        raise self.unable("it does not say how far it looks ahead")

    def unable(self, why: str) -> CodecError:
        return CodecError(f"{type(self).__name__} cannot be streamed: {why}; encode and decode whole signals")


class Pointwise(Streamed):
    """A layer whose outputs depend on one position each."""

    def start(self, batch: int) -> State:
        return State()

    def step(self, x: Tensor, state: State, last: bool) -> tuple[Tensor, State]:
        return self(x), state

    def reach(self, position: int) -> int:
        return position


class ELU(Pointwise, nn.ELU):
    """torch's ELU."""


class Identity(Pointwise, nn.Identity):
    """torch's Identity."""


class Chain(nn.Sequential, Streamed):
    """Streamed layers one after the other."""

    def __init__(self, *layers: Streamed) -> None:
        super().__init__(*layers)

    def start(self, batch: int) -> State:
        return State(parts=tuple(layer.start(batch) for layer in self._streamed()))

    def step(self, x: Tensor, state: State, last: bool) -> tuple[Tensor, State]:
        return through(tuple(self._streamed()), x, state, last)

    def reach(self, position: int) -> int:
        for layer in reversed(tuple(self._streamed())):
            position = layer.reach(position)
        return position

    def _streamed(self) -> Iterator[Streamed]:
        return cast(Iterator[Streamed], iter(self))


def through(layers: Sequence[Streamed], x: Tensor, state: State, last: bool) -> tuple[Tensor, State]:
    """A step of one layer after the other; ``state.parts`` has one state for each."""
    states = []
    for layer, part in zip(layers, state.parts, strict=True):
        x, part = layer.step(x, part, last)
        states.append(part)
    return x, State(parts=tuple(states))


def aligned(branches: Sequence[Tensor], waiting: Sequence[Tensor]) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Outputs of branches with different delays, as far as all have come, and what waits for the others.

    ``waiting``: what the last call left, ``(b, c, 0)`` at the start of a stream.
    """
    branches = [torch.cat([w, b], dim=-1) for w, b in zip(waiting, branches, strict=True)]
    ready = min(branch.shape[-1] for branch in branches)
    return [b[..., :ready] for b in branches], tuple(b[..., ready:] for b in branches)
