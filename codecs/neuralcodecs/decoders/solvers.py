"""How a generative decoder gets from noise to data: solvers, their steps, and guidance by the condition.

Guidance: https://arxiv.org/abs/2207.12598; in two phases, embedded, and the time shift: ZipVoice
(https://arxiv.org/abs/2506.13053). DDIM: https://arxiv.org/abs/2010.02502.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from neuralcodecs.configured import Configured
from neuralcodecs.decoders.condition import ALL, Part, Parts
from neuralcodecs.decoders.process import Estimate, Process, Times
from neuralcodecs.errors import CodecError
from neuralcodecs.sampling import Sampling

Evaluate = Callable[[Times, Parts, Tensor], Tensor]
"""The network at a point: time, the parts of the condition that it is not told, the guidance that is its input."""
Field = Callable[[Tensor, Times], Estimate]
"""What the network, guided, makes of a point at a time."""


class Guidance(Configured, ABC):
    """How the condition is made to count more, or less, than it was trained to.

    ``scale`` is 1 for the condition as it is and 0 for none. ``patterns``: which parts the network must have learned
    to do without, together. ``embedded``: whether the network learns the scale as an input.
    """

    patterns: tuple[Parts, ...] = ()
    embedded: bool = False

    @abstractmethod
    def __call__(self, evaluate: Evaluate, time: Times, scale: Float[Tensor, " b"]) -> Tensor:
        """The guided output of the network."""


class ClassifierFree(Guidance):
    """Away from what the network says without the condition: ``free + scale * (told - free)``; twice the work.

    Args:
        dropped: the parts of the condition that it does without, all by default; PerCo's are the caption's tokens.
    """

    def __init__(self, dropped: tuple[Part, ...] = ALL) -> None:
        self.dropped: Parts = tuple(dropped)
        self.patterns = (self.dropped,)

    def __call__(self, evaluate: Evaluate, time: Times, scale: Float[Tensor, " b"]) -> Tensor:
        one = torch.ones_like(scale)
        told = evaluate(time, (), one)
        if bool((scale == 1).all()):
            return told
        return _away(evaluate(time, self.dropped, one), told, scale)


class TwoPhase(Guidance):
    """Early, away from what the network says without one part of the condition, more strongly; later as usual.

    ZipVoice: until t = 1/2 the text alone is dropped and the guidance's excess over 1 is doubled.

    Args:
        dropped: the part that the network does without in the early phase.
        switch: the time, from 0 (noise) to 1, up to which it is early.
        boost: factor of ``scale - 1`` in the early phase.
    """

    def __init__(self, dropped: Part = "tokens", switch: float = 0.5, boost: float = 2.0) -> None:
        self.dropped: Parts = (dropped,)
        self.switch, self.boost = switch, boost
        self.patterns = (self.dropped, ALL)

    def __call__(self, evaluate: Evaluate, time: Times, scale: Float[Tensor, " b"]) -> Tensor:
        one = torch.ones_like(scale)
        told = evaluate(time, (), one)
        if bool((scale == 1).all()):
            return told
        early = time <= self.switch
        guided = told
        for members, dropped, factor in ((early, self.dropped, self.boost), (~early, ALL, 1.0)):
            if bool(members.any()):
                away = _away(evaluate(time, dropped, one), told, 1 + factor * (scale - 1))
                guided = torch.where(_column(members, told), away, guided)
        return guided


class Embedded(Guidance):
    """The scale as an input of the network, which has been distilled with it: no second evaluation."""

    embedded = True

    def __call__(self, evaluate: Evaluate, time: Times, scale: Float[Tensor, " b"]) -> Tensor:
        return evaluate(time, (), scale)


class Solver(Configured, ABC):
    """Steps along the path that a network describes.

    Args:
        shift: s; times are ``s t / (1 + (s - 1) t)`` of evenly spaced t. Below 1 the steps are small near the noise.
    """

    def __init__(self, shift: float = 1.0) -> None:
        if not shift > 0:
            raise CodecError(f"shift {shift}: give a positive number")
        self.shift = shift

    def times(self, steps: int, first: float = 0.0) -> list[float]:
        """``steps + 1`` times from ``first`` to 1."""
        even = (i / steps for i in range(steps + 1))
        return [first + (1 - first) * self.shift * t / (1 + (self.shift - 1) * t) for t in even]

    def __call__(
        self, process: Process, field: Field, x: Float[Tensor, "b c *space"], times: Float[Tensor, "n b"]
    ) -> Float[Tensor, "b c *space"]:
        """Where the path leads from ``x`` at the first time to the last; each item has times of its own."""
        for now, after in itertools.pairwise(times):
            x = self.step(process, field, x, now, after)
        return x

    @abstractmethod
    def step(
        self, process: Process, field: Field, x: Float[Tensor, "b c *space"], now: Times, after: Times
    ) -> Float[Tensor, "b c *space"]: ...


class Euler(Solver):
    """Straight on, in the direction at the step's start: an error of first order."""

    def step(
        self, process: Process, field: Field, x: Float[Tensor, "b c *space"], now: Times, after: Times
    ) -> Float[Tensor, "b c *space"]:
        return x + _column(after - now, x) * process.velocity(field(x, now), now)


class Heun(Solver):
    """The mean of the directions at both ends: second order for two evaluations; the last step has one.

    There the noise is gone, and predictions of the data or the noise no longer tell a direction.
    """

    def step(
        self, process: Process, field: Field, x: Float[Tensor, "b c *space"], now: Times, after: Times
    ) -> Float[Tensor, "b c *space"]:
        length = _column(after - now, x)
        start = process.velocity(field(x, now), now)
        ahead = x + length * start
        if bool((after >= 1).any()):
            return ahead
        return x + length * (start + process.velocity(field(ahead, after), after)) / 2


class DDIM(Solver):
    """To the point at the next time that has the data and the noise estimated now.

    Euler's step on the linear path; on the cosine path exact where the estimate is right, and so better in few steps.
    One step gives the estimate of the data at the start: CDT's decoder (arXiv 2503.03708).
    """

    def step(
        self, process: Process, field: Field, x: Float[Tensor, "b c *space"], now: Times, after: Times
    ) -> Float[Tensor, "b c *space"]:
        return process.at(field(x, now), after)


class Sampler(Configured):
    """How a decoder decodes unless told otherwise.

    Args:
        solver: ``Euler`` by default.
        guidance: ``ClassifierFree`` by default.
        steps: of the solver; written to files.
        scale: of the guidance; 1 leaves the condition as it is.
        seed: of the noise; written to files.
        temperature: standard deviation of the noise that decoding starts from; below 1 for less variety (CDT: 0.8).
    """

    def __init__(
        self,
        solver: Solver | None = None,
        guidance: Guidance | None = None,
        steps: int = 8,
        scale: float = 1.0,
        seed: int = 0,
        temperature: float = 1.0,
    ) -> None:
        self.solver = solver or Euler()
        self.guidance = guidance or ClassifierFree()
        self.temperature = temperature
        self.sampling = Sampling(seed, steps, scale)


def _away(free: Tensor, told: Tensor, scale: Float[Tensor, " b"]) -> Tensor:
    return free + _column(scale, told) * (told - free)


def _column(values: Shaped[Tensor, " b"], like: Tensor) -> Tensor:
    return values.view(-1, *(1,) * (like.ndim - 1)).to(like.device)
