"""What a bit is worth: the weight of distortion against rate, fixed, scheduled, or steered to a rate."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from neuralcodecs.errors import CodecError


class Tradeoff(nn.Module, ABC):
    """Weighs distortion; what it remembers is in the checkpoint."""

    @abstractmethod
    def forward(self, levels: int, rate: Tensor) -> Tensor:
        """Lambda for a batch at so many levels that costs ``rate`` bits per pixel; in training it may learn from it."""


class Lambdas(Tradeoff):
    """One lambda per level; for ``boost_steps`` batches all are ``boost`` times as large (shallow NTC: 10, a fifth).

    Args:
        values: lambda of each level, ascending.
        boost: factor of the first batches.
        boost_steps: how many they are.
    """

    steps: Tensor

    def __init__(self, values: tuple[float, ...], boost: float = 1.0, boost_steps: int = 0) -> None:
        super().__init__()
        self.values, self.boost, self.boost_steps = tuple(values), boost, boost_steps
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, levels: int, rate: Tensor) -> Tensor:
        if levels > len(self.values):
            raise CodecError(f"{len(self.values)} lambdas for {levels} levels: give one each")
        if self.training:
            self.steps += 1
        factor = torch.where(self.steps <= self.boost_steps, self.boost, 1.0) if self.training else 1.0
        return self.values[levels - 1] * torch.as_tensor(factor, device=rate.device)


class TargetRates(Tradeoff):
    """Moves the lambda of each level until its batches cost what they should, on average.

    Args:
        rates: bits per pixel of each level, ascending.
        values: lambda of each level to begin with.
        speed: how far a batch moves the logarithm of lambda, per logarithm of the rate that is lacking.
    """

    logs: Tensor

    def __init__(self, rates: tuple[float, ...], values: tuple[float, ...], speed: float = 0.01) -> None:
        super().__init__()
        if len(rates) != len(values):
            raise CodecError(f"{len(rates)} rates and {len(values)} lambdas: give one each per level")
        self.rates, self.speed = tuple(rates), speed
        self.register_buffer("logs", torch.tensor(values).log())

    def forward(self, levels: int, rate: Tensor) -> Tensor:
        if levels > len(self.rates):
            raise CodecError(f"{len(self.rates)} rates for {levels} levels: give one each")
        if self.training:
            lacking = (self.rates[levels - 1] / rate.detach().clamp(min=1e-6)).log()
            self.logs[levels - 1] += self.speed * lacking.clamp(-1, 1)
        return self.logs[levels - 1].exp()
