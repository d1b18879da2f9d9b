"""Fine-tuning of priors that lose too much when they are rounded: training that knows of the rounding.

The float network computes as its export will (PEM-24): weights by rows on the finest grid that sums allow, activations,
scores and logits on theirs, all cut where integers end. Gradients pass straight through
(https://arxiv.org/abs/1712.05877), but none that lead further outside. What is left out costs nothing that could be
learned: table look-ups, the 15 bits of attention weights. What counts is the export, which is measured afterwards.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuralcodecs.layers.exact import rounded
from neuralcodecs.priors.arithmetic import (
    ACTIVATION,
    HIDDEN_BITS,
    LARGEST_ACCUMULATOR,
    LARGEST_SHIFT,
    LARGEST_WEIGHT,
    LOGIT_BITS,
    NORM_BITS,
    QUERY_BITS,
    RESIDUAL,
    RESIDUAL_BITS,
    VALUE_BITS,
)
from neuralcodecs.priors.blocks import FLOATS, Arithmetic, rms_norm
from neuralcodecs.priors.export import OCTAVES
from neuralcodecs.priors.learned import LearnedPrior

LEARNING_RATE = 1e-3
LARGEST_LOGIT = float(RESIDUAL)
"""Of scores: far beyond what can be told from probability 0."""


class Rounded(Arithmetic):
    """Floats on the grids of the integers that files are coded with."""

    def kept(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        return _on_grid(x, RESIDUAL_BITS, float(RESIDUAL))

    def normed(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        return _on_grid(rms_norm(x), NORM_BITS)

    def projected(self, layer: nn.Linear, x: Float[Tensor, "b n d"], heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys so that their products are octaves."""
        share = math.sqrt(OCTAVES / math.sqrt(x.shape[-1] / heads))
        factor = x.new_tensor([share, share, 1.0]).repeat_interleave(x.shape[-1])
        both = _linear(x, layer.weight * factor[:, None], layer.bias * factor, NORM_BITS)
        query, key, value = rearrange(both, "b n (three h c) -> three b h n c", three=3, h=heads)
        return _on_grid(query, QUERY_BITS), _on_grid(key, QUERY_BITS), _on_grid(value, VALUE_BITS)

    def mixed(self, query: Tensor, key: Tensor, value: Tensor, bias: Float[Tensor, "h n m"]) -> Tensor:
        scores = _on_grid(query @ key.transpose(-1, -2), LOGIT_BITS, LARGEST_LOGIT)
        distances = _on_grid(OCTAVES * bias.masked_fill(bias.isinf(), 0.0), LOGIT_BITS, float(RESIDUAL))
        hidden = (scores + distances).masked_fill(bias.isinf(), -torch.inf)
        return _on_grid((hidden / OCTAVES).softmax(-1) @ value, VALUE_BITS)

    def out(self, layer: nn.Linear, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        return _linear(x, layer.weight, layer.bias, VALUE_BITS)

    def risen(self, layer: nn.Linear, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows e"]:
        hidden = _linear(x, layer.weight, layer.bias, NORM_BITS)
        return rounded(hidden, 2.0**HIDDEN_BITS, 0.0, ACTIVATION / 2**HIDDEN_BITS)

    def fallen(self, layer: nn.Linear, x: Float[Tensor, "*rows e"]) -> Float[Tensor, "*rows d"]:
        return _linear(x, layer.weight, layer.bias, HIDDEN_BITS)

    def logits(
        self, weight: Float[Tensor, "q v d"], bias: Float[Tensor, "q v"], x: Float[Tensor, "*rows q d"]
    ) -> Float[Tensor, "*rows q v"]:
        rows, offset = _straight(OCTAVES * weight, OCTAVES * bias, NORM_BITS)
        return _on_grid(FLOATS.logits(rows, offset, x), LOGIT_BITS, LARGEST_LOGIT) / OCTAVES


@contextmanager
def rounding(model: LearnedPrior) -> Iterator[None]:
    """Within it the float network computes as its export does, but for what costs nothing."""
    modules = list(model.modules())
    for module in modules:  # those that compute look at it
        vars(module)["arithmetic"] = ROUNDED
    try:
        yield
    finally:
        for module in modules:
            del vars(module)["arithmetic"]


ROUNDED = Rounded()


def fine_tune(model: LearnedPrior, batches: Iterable[Int64[Tensor, "b q *grid"]], steps: int) -> None:
    """Train on ``steps`` of the batches of codes with rounding; the learning rate falls to 0."""
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, (0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-3, steps)
    device, training = next(model.parameters()).device, model.training
    model.train()
    with rounding(model), torch.enable_grad():
        for _, codes in zip(range(steps), batches, strict=False):
            optimizer.zero_grad()
            model.bits(codes.to(device)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.train(training)


def _on_grid(x: Tensor, bits: int, largest: float = float(ACTIVATION)) -> Tensor:
    """Multiples of ``2 ** -bits``, the integers behind them at most ``largest``."""
    return rounded(x, 2.0**bits, -largest / 2**bits, largest / 2**bits)


def _linear(x: Tensor, weight: Float[Tensor, "rows columns"], bias: Float[Tensor, " rows"], bits_in: int) -> Tensor:
    return F.linear(x, *_straight(weight, bias, bits_in))


def _straight(
    weight: Float[Tensor, "*rows columns"], bias: Float[Tensor, "*rows"], bits_in: int
) -> tuple[Float[Tensor, "*rows columns"], Float[Tensor, "*rows"]]:
    """Weights and biases as ``ExactLinear.fill`` rounds them; the gradient passes."""
    with torch.no_grad():
        sums = ACTIVATION * weight.abs().sum(-1) + 2.0**bits_in * bias.abs()
        need = torch.maximum(weight.abs().amax(-1) / LARGEST_WEIGHT, sums / LARGEST_ACCUMULATOR)
        power = 2.0 ** torch.floor(-need.clamp(min=2.0**-LARGEST_SHIFT).log2())
        off = torch.floor(weight * power.unsqueeze(-1) + 0.5) / power.unsqueeze(-1) - weight
        off_bias = torch.floor(bias * power * 2**bits_in + 0.5) / (power * 2**bits_in) - bias
    return weight + off, bias + off_bias
