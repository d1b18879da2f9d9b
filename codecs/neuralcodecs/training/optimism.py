"""Gradients of one player of a game that moves at the same time as the other, as if it saw the other's move.

Two players that step at once circle around each other and drift apart; taking turns they do not, but then the second
needs a forward of its own. Extrapolating a gradient by its last change gives nearly the gradient after the other's step
(optimistic gradients: Daskalakis et al., https://arxiv.org/abs/1711.00141, section 2).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

PAST = "past_gradient"
"""Key in the optimizer's state of a parameter: so it is in checkpoints."""


class Optimism:
    """Makes ``2 g - g'`` of gradients before an optimizer step, ``g'`` being those of the player's step before."""

    def __init__(self) -> None:
        self._seen: list[tuple[dict[str, Tensor], Tensor]] = []

    def extrapolate(self, optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> None:
        """Call before the step. Who has no gradient rests, and keeps that of its last step."""
        self._seen = []
        moved, gradients, pasts = [], [], []
        for parameter in parameters:
            if parameter.grad is None:
                continue
            state = optimizer.state[parameter]
            self._seen.append((state, parameter.grad))
            if PAST in state:
                moved.append(parameter)
                gradients.append(parameter.grad)
                pasts.append(state[PAST])
        if moved:
            ahead = torch._foreach_mul(gradients, 2.0)
            torch._foreach_sub_(ahead, pasts)
            for parameter, gradient in zip(moved, ahead, strict=True):
                parameter.grad = gradient

    @torch.no_grad()
    def remember(self) -> None:
        """Call after the step: optimizers set up their state of a parameter only where there is none."""
        for state, gradient in self._seen:
            # a step that is left out on the device has gradients that must not spoil the next
            state[PAST] = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
        self._seen = []
