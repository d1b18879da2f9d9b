"""Paths from noise to data and what a network learns of them: flow matching (https://arxiv.org/abs/2210.02747) and
diffusion (https://arxiv.org/abs/2202.00512, section 4) are one formula with other coefficients.

    x(t) = data(t) * data + noise(t) * noise,   t = 0: noise, t = 1: data
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.configured import Configured

Times = Float[Tensor, " b"]


class Coefficients(NamedTuple):
    """Of data and noise at a time, and their derivatives by it; each ``(b,)``."""

    data: Tensor
    noise: Tensor
    data_rate: Tensor
    noise_rate: Tensor


class Estimate(NamedTuple):
    """The data and the noise that a network takes a point of the path to be made of."""

    data: Float[Tensor, "b c *space"]
    noise: Float[Tensor, "b c *space"]


class Schedule(Configured, ABC):
    """How data replaces noise."""

    @abstractmethod
    def __call__(self, time: Times) -> Coefficients: ...


class Linear(Schedule):
    """``t`` of data and ``1 - t`` of noise: conditional flow matching, rectified flow."""

    def __call__(self, time: Times) -> Coefficients:
        one = torch.ones_like(time)
        return Coefficients(time, 1 - time, one, -one)


class Cosine(Schedule):
    """``sin(pi t / 2)`` of data and ``cos(pi t / 2)`` of noise: what varies as one is kept at variance one."""

    def __call__(self, time: Times) -> Coefficients:
        quarter = torch.pi / 2
        sine, cosine = (time * quarter).sin(), (time * quarter).cos()
        return Coefficients(sine, cosine, quarter * cosine, -quarter * sine)


class Prediction(Configured, ABC):
    """What the network's output means: so much of the data plus so much of the noise.

    ``first``: the earliest time at which data and noise follow from it.
    """

    first: float = 0.0

    @abstractmethod
    def mix(self, at: Coefficients) -> tuple[Tensor, Tensor]:
        """The shares of data and noise in the output, each ``(b,)``."""


class Velocity(Prediction):
    """Where the path goes: ``dx / dt``; data minus noise on the linear path."""

    def mix(self, at: Coefficients) -> tuple[Tensor, Tensor]:
        return at.data_rate, at.noise_rate


class Noise(Prediction):
    """The noise (epsilon). Nothing can be said of the data where there is none, so it starts a little later."""

    first = 0.02

    def mix(self, at: Coefficients) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(at.data), torch.ones_like(at.data)


class Data(Prediction):
    """The data (x0 in the diffusion literature): a single step from noise gives a whole answer, a blurred one."""

    def mix(self, at: Coefficients) -> tuple[Tensor, Tensor]:
        return torch.ones_like(at.data), torch.zeros_like(at.data)


class Rotation(Prediction):
    """The v of diffusion: ``data(t) * noise - noise(t) * data``."""

    def mix(self, at: Coefficients) -> tuple[Tensor, Tensor]:
        return -at.noise, at.data


class TimeDraw(Configured, ABC):
    """The distribution of the times at which the network learns."""

    @abstractmethod
    def __call__(self, count: int, device: torch.device) -> Times:
        """Times in (0, 1) from torch's global generator."""


class UniformTimes(TimeDraw):
    """All times alike; a batch's are spread evenly, which leaves each uniform and lowers the loss's variance."""

    def __call__(self, count: int, device: torch.device) -> Times:
        places = torch.randperm(count, device=device) + torch.rand(count, device=device)
        return (places / count).clamp(1e-5, 1 - 1e-5)


class LogitNormalTimes(TimeDraw):
    """The sigmoid of a normal number: the middle of the path most (https://arxiv.org/abs/2403.03206, section 3.1)."""

    def __init__(self, mean: float = 0.0, deviation: float = 1.0) -> None:
        self.mean, self.deviation = mean, deviation

    def __call__(self, count: int, device: torch.device) -> Times:
        return torch.sigmoid(self.mean + self.deviation * torch.randn(count, device=device)).clamp(1e-5, 1 - 1e-5)


class Weighting(Configured, ABC):
    """How much the squared error at a time counts."""

    @abstractmethod
    def __call__(self, at: Coefficients, data_error: Tensor) -> Tensor:
        """Factor ``(b,)``; ``data_error``: by how much an error of the output is one of the data, ``(b,)``."""


class EqualWeight(Weighting):
    """The error of the output itself."""

    def __call__(self, at: Coefficients, data_error: Tensor) -> Tensor:
        return torch.ones_like(data_error)


class MinSNR(Weighting):
    """The error of the data times the signal-to-noise ratio, that at most ``gamma`` (arXiv 2303.09556).

    The same for every prediction: of the data itself it is ``min(snr, gamma)``, of the noise ``min(snr, gamma) / snr``.
    """

    def __init__(self, gamma: float = 5.0) -> None:
        self.gamma = gamma

    def __call__(self, at: Coefficients, data_error: Tensor) -> Tensor:
        ratio = (at.data / at.noise) ** 2
        return ratio.clamp_max(self.gamma) * data_error**2


class Process(Configured):
    """A path, what is predicted on it, and how the prediction is learned.

    Flow matching by default. Diffusion as in CDT: ``Cosine``, ``Data``; with v: ``Cosine``, ``Rotation``; as in
    Stable Diffusion 3: ``Linear``, ``Velocity``, ``LogitNormalTimes``.

    Args:
        schedule: ``Linear`` by default.
        prediction: ``Velocity`` by default.
        times: ``UniformTimes`` by default.
        weighting: ``EqualWeight`` by default.
    """

    def __init__(
        self,
        schedule: Schedule | None = None,
        prediction: Prediction | None = None,
        times: TimeDraw | None = None,
        weighting: Weighting | None = None,
    ) -> None:
        self.schedule = schedule or Linear()
        self.prediction = prediction or Velocity()
        self.times = times or UniformTimes()
        self.weighting = weighting or EqualWeight()

    @property
    def first(self) -> float:
        """The earliest time of a solver."""
        return self.prediction.first

    def draw(self, count: int, device: torch.device) -> Times:
        """Times to learn at."""
        return self.times(count, device).clamp_min(self.first)

    def at(self, estimate: Estimate, time: Times) -> Float[Tensor, "b c *space"]:
        """The point of the path at ``time``."""
        c = self.schedule(time)
        return _over(c.data, estimate.data) * estimate.data + _over(c.noise, estimate.noise) * estimate.noise

    def target(self, truth: Estimate, time: Times) -> Float[Tensor, "b c *space"]:
        """What the network should say there."""
        data, noise = self.prediction.mix(self.schedule(time))
        return _over(data, truth.data) * truth.data + _over(noise, truth.noise) * truth.noise

    def resolve(self, output: Float[Tensor, "b c *space"], x: Float[Tensor, "b c *space"], time: Times) -> Estimate:
        """The data and noise that the network's output stands for, from ``x`` and it: two equations."""
        c = self.schedule(time)
        p, q = self.prediction.mix(c)
        determinant = c.data * q - c.noise * p
        data = _over(q / determinant, x) * x - _over(c.noise / determinant, x) * output
        noise = _over(c.data / determinant, x) * output - _over(p / determinant, x) * x
        return Estimate(data, noise)

    def velocity(self, estimate: Estimate, time: Times) -> Float[Tensor, "b c *space"]:
        """Where the path through the estimate goes."""
        c = self.schedule(time)
        return _over(c.data_rate, estimate.data) * estimate.data + _over(c.noise_rate, estimate.noise) * estimate.noise

    def loss(
        self, output: Float[Tensor, "b c *space"], target: Float[Tensor, "b c *space"], time: Times
    ) -> Float[Tensor, ""]:
        """Mean of the weighted squared error, in fp32."""
        c = self.schedule(time)
        p, q = self.prediction.mix(c)
        weight = self.weighting(c, c.noise / (c.data * q - c.noise * p))
        return (weight * (output.float() - target.float()).square().flatten(1).mean(1)).mean()


def _over(values: Float[Tensor, " b"], like: Float[Tensor, "b c *space"]) -> Float[Tensor, "b *ones"]:
    return values.view(-1, *(1,) * (like.ndim - 1)).to(like.device)
