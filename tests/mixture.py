"""Two mixtures of normals on a line, told apart by a label: the smallest problem of a generative decoder."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from neuralcodecs.codes import Shape
from neuralcodecs.decoders import FlowDecoder
from neuralcodecs.decoders.condition import Condition, Conditioner, Widths
from neuralcodecs.decoders.network import Network, TimeEmbedding
from neuralcodecs.decoders.process import Process
from neuralcodecs.decoders.solvers import Sampler
from neuralcodecs.sampling import Sampling

MIXTURES = (((0.3, -1.5, 0.3), (0.7, 1.0, 0.2)), ((1.0, 0.0, 0.5),))
"""Weight, mean and deviation of each part, for label 0 and label 1."""


class Pointwise(Network):
    """A perceptron at each position, so that a signal of n positions is n draws."""

    def __init__(self, channels: int, axes: int, widths: Widths, width: int = 128) -> None:
        super().__init__()
        self.embedding = TimeEmbedding(width, 0)
        sizes = (channels + sum(widths.maps), width, width, width)
        self.layers = nn.ModuleList(nn.Conv1d(a, b, 1) for a, b in itertools.pairwise(sizes))
        self.last = nn.Conv1d(width, channels, 1)

    def forward(self, x: Tensor, time: Tensor, guidance: Tensor, condition: Condition) -> Tensor:
        embedded, h = self.embedding(time, guidance, condition)[:, :, None], torch.cat([x, *condition.maps], dim=1)
        for layer in self.layers:
            h = nn.functional.silu(layer(h) + embedded)
        return self.last(h)

    def sizes(self, size: Shape) -> tuple[Shape, ...]:
        return (size,)


class Plain(Conditioner):
    """The latents as they are."""

    def __init__(self, dim: int, strides: Shape) -> None:
        super().__init__()
        self.strides, self.widths = tuple(strides), Widths(maps=(dim,))

    def forward(self, latents: Tensor, sizes: Sequence[Shape]) -> Condition:
        return Condition((latents,))


def decoder(process: Process | None = None, sampler: Sampler | None = None) -> FlowDecoder:
    torch.manual_seed(0)
    return FlowDecoder(1, 1, (1,), Pointwise, Plain, process=process, sampler=sampler, dropout=0.0)


def draw(labels: Tensor) -> Tensor:
    """A number of the mixture of each label."""
    values = torch.zeros(labels.shape)
    for label, parts in enumerate(MIXTURES):
        weights, means, deviations = map(torch.tensor, zip(*parts, strict=True))
        chosen = torch.multinomial(weights, labels.numel(), replacement=True).view(labels.shape)
        values = torch.where(labels == label, means[chosen] + deviations[chosen] * torch.randn(labels.shape), values)
    return values


def train(
    learner: FlowDecoder, losses: Callable[[Tensor, Tensor], dict[str, Tensor]], steps: int, lr: float = 2e-3
) -> None:
    """``losses`` of signals and latents, minimised."""
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(learner.parameters(), lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.05)
    for _ in range(steps):
        labels = torch.randint(2, (64, 1, 16))
        optimizer.zero_grad()
        torch.stack([*losses(draw(labels), labels.float()).values()]).sum().backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def decode(learner: FlowDecoder, label: int, steps: int, count: int = 10_000) -> Tensor:
    """So many draws for a label."""
    return learner.decode(torch.full((1, 1, count), float(label)), Sampling(0, steps, 1.0)).flatten()


def distance(learner: FlowDecoder, label: int, steps: int) -> float:
    """Kolmogorov and Smirnov's: the largest difference of the distribution functions of the draws and of the truth."""
    draws = decode(learner, label, steps).sort().values
    truth = torch.stack([w * Normal(m, d).cdf(draws) for w, m, d in MIXTURES[label]]).sum(0)
    below = torch.arange(len(draws)) / len(draws)
    return float(torch.maximum((truth - below).abs(), (truth - below - 1 / len(draws)).abs()).max())
