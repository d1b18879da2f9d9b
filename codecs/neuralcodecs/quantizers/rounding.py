"""Ways to round: for files, for training by noise, and annealed for the refinement of one picture's latents.

Stochastic Gumbel annealing (SGA): https://arxiv.org/abs/2006.04240.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from neuralcodecs.layers.exact import rounded

Rounding = Callable[[Tensor, float, float], tuple[Tensor, Tensor]]
"""Of values and their bounds: what they become, and what their rate is counted of."""
LEARNING_RATE = 5e-3
SLOW = 0.1
"""Share of the steps, at the end, with a tenth of the learning rate."""
HOTTEST, COLDEST = 0.5, 0.1
"""Temperatures; published over 3000 steps, of which the first 200 are at the hottest."""
EDGE = 1e-4
"""Distance to a whole number below which the other one is never drawn."""


def whole(x: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """To the nearest whole numbers, which are also what is counted."""
    values = rounded(x, 1.0, low, high)
    return values, values


def noisy(x: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Rounded straight-through; the rate is that of the value with uniform noise."""
    return rounded(x, 1.0, low, high), x.clamp(low, high) + torch.rand_like(x) - 0.5


def drawn(temperature: float, x: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Between the two neighbours, by a relaxed draw that prefers the nearer one."""
    x = x.clamp(low, high)
    below = x.detach().floor()
    up = (x - below).clamp(EDGE, 1 - EDGE)
    logits = torch.stack([-torch.atanh(up), -torch.atanh(1 - up)]) / temperature
    gumbel = -torch.log(-torch.log(torch.rand_like(logits).clamp(1e-20, 1 - 1e-7)))
    values = below + torch.softmax((logits + gumbel) / temperature, dim=0)[1]
    return values, values


def anneal(
    start: Sequence[Tensor], cost: Callable[[Sequence[Tensor], Rounding], Tensor], steps: int
) -> Sequence[Tensor]:
    """What minimises ``cost`` near ``start``, to be rounded afterwards. The draws are always the same ones."""
    with torch.enable_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        moving = [value.clone().requires_grad_() for value in start]
        optimizer = torch.optim.Adam(moving, lr=LEARNING_RATE)
        for step in range(steps):
            progress = step / steps
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 if progress < 1 - SLOW else 0.1)
            temperature = max(COLDEST, min(HOTTEST, HOTTEST * math.exp(-1.5 * (progress - 1 / 15))))
            gradients = torch.autograd.grad(cost(moving, partial(drawn, temperature)), moving)
            for value, gradient in zip(moving, gradients, strict=True):
                value.grad = gradient
            optimizer.step()
    return [value.detach() for value in moving]
