"""The contracts by which an output is judged: losses and discriminators in training, metrics in evaluation."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn


class Loss(nn.Module, ABC):
    """A differentiable distance between an output and its target; zero when they are equal."""

    @abstractmethod
    def forward(
        self, output: Float[Tensor, "b c *space"], target: Float[Tensor, "b c *space"]
    ) -> Float[Tensor, ""]: ...


class Verdict(NamedTuple):
    """What one (sub-)discriminator says of a batch; axis 0 of every tensor is the batch."""

    logits: Tensor
    features: list[Tensor]
    """Outputs of its layers in order, before the logits: for feature matching."""


class Discriminator(nn.Module, ABC):
    """Tells real signals from decoded ones at one or several scales."""

    @abstractmethod
    def forward(self, signal: Float[Tensor, "b c *space"]) -> list[Verdict]: ...


class MetricFailure(Exception):
    """No value for this pair of signals (too short, silent ...); counted, never replaced by a number."""


class Metric(ABC):
    """A figure of one decoded signal against its reference; both whole, of equal shape, on the CPU.

    ``names``: of the figures it returns. ``definition``: package, version and settings in a line, printed with them.
    """

    names: tuple[str, ...]
    higher_is_better: bool
    definition: str

    @abstractmethod
    def __call__(
        self, decoded: Float[Tensor, "c *space"], reference: Float[Tensor, "c *space"], rate: int
    ) -> dict[str, float]:
        """Figures of this file by name; ``rate`` in samples per second (0 for images). Raises MetricFailure."""

    def fresh(self) -> "Metric":
        """The metric for another set of files; one that gathers over files returns a new one with the same network."""
        return self

    def over_files(self) -> dict[str, float]:
        """Figures of all files together, such as a distance of distributions. Raises MetricFailure."""
        return {}
