"""What every trained prior is: a float network over the codes of one grid, and its export to exact integers.

Trained in float, files are coded with the export (``export.py``); what rounding costs is measured each time.
"""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError
from neuralcodecs.priors.integer import Sealed

LIMIT = 1e-3
"""Share of the bits that rounding may cost."""


class Exported(NamedTuple):
    """An integer prior, and the bits that validation codes take with the float model and with it."""

    prior: Sealed
    float_bits: float
    integer_bits: float

    @property
    def loss(self) -> float:
        """Share of the bits that rounding costs."""
        return self.integer_bits / self.float_bits - 1


class LearnedPrior(Configured, nn.Module, ABC):
    """Bits of codes ``(b, q, *grid)``; ``alphabet``: sizes of the codebooks, of which codes may have the first."""

    alphabet: Shape

    @abstractmethod
    def code_bits(
        self, codes: Int64[Tensor, "b q *grid"], cond: Int64[Tensor, "_ c *grids"] | None = None
    ) -> Float[Tensor, "b q *grid"]:
        """``-log2 p`` of every code, each given what is coded before it."""

    @abstractmethod
    def export(self) -> Sealed:
        """The same network in exact integers, on the CPU: what codes files. Raises CodecError for huge weights."""

    def bits(
        self, codes: Int64[Tensor, "b q *grid"], cond: Int64[Tensor, "_ c *grids"] | None = None
    ) -> Float[Tensor, ""]:
        """Mean bits of a code: the training loss."""
        return self.code_bits(codes, cond).mean()

    def export_checked(
        self, codes: Int64[Tensor, "b q *grid"], cond: Int64[Tensor, "_ c *grids"] | None = None, limit: float = LIMIT
    ) -> Exported:
        """Export, and measure what rounding costs on validation codes; CodecError above ``limit`` of their bits."""
        with torch.no_grad():
            bits = float(self.bits(codes, cond)) * codes.numel()
        prior = self.export()
        exported = Exported(prior, bits, prior.ideal_bits(codes.cpu(), None if cond is None else cond.cpu()))
        check_loss(exported, limit)
        return exported


def check_loss(exported: Exported, limit: float = LIMIT) -> None:
    """Raises CodecError where rounding costs more than ``limit`` of the bits."""
    if exported.loss > limit:
        raise CodecError(
            f"exact integers cost {exported.loss:.3%} of the bits, more than {limit:.3%}: "
            "fine-tune with rounding (tuning_steps of EvaluatePrior), or allow it (most_loss)"
        )


def bits_of(logits: Float[Tensor, "b n q v"], codes: Int64[Tensor, "b q n"]) -> Float[Tensor, "b q n"]:
    """``-log2`` of the probability that logits give each code."""
    log_probability = logits.log_softmax(-1).gather(-1, codes.transpose(1, 2).unsqueeze(-1))
    return log_probability.squeeze(-1).transpose(1, 2) / -math.log(2)
