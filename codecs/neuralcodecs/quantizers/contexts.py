"""What is known of latents before they are coded: mean and scale of each, from the hyperprior and what came before.

    for each slice of channels, for each pass over its positions:
        features, slices before, passes before --exact network--> means, scale indices --visit--> values of the pass

Mean and scale: https://arxiv.org/abs/1809.02736. Slices of channels with latent residual prediction:
https://arxiv.org/abs/2007.08739. Checkerboard: https://arxiv.org/abs/2103.15306. One loop serves training, encoding,
decoding and the entropy coder: they differ only in what they do where it stops (``Visit``).
"""

import itertools
from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.exact import GRID, LIMIT, ExactConv, activation, rounded
from neuralcodecs.quantizers.conditional import SCALES

MEAN_STEPS = 16
"""Means are multiples of 1/16 of a quantization step."""
SCALE_STEPS = 8
"""Scale indices are eighths of the network's output."""
FIRST_INDEX = 20
"""Index that an output of 0 gives: a scale of 1.3."""
SHRINK = 8
"""Values are divided by this before a network sees them: up to 32 quantization steps are on its grid."""
LARGEST_MEAN = 2.0**15


class Part(NamedTuple):
    """One pass over one slice: channels ``first`` to ``last`` at the positions of ``mask (h, w)``."""

    first: int
    last: int
    mask: Bool[Tensor, "h w"]


@runtime_checkable
class Visit(Protocol):
    """What is done with a part: given means and scale indices ``(b, c, h, w)``, its values there, 0 elsewhere."""

    def __call__(
        self, part: Part, means: Float[Tensor, "b c h w"], index: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]: ...


class Passes(Configured, ABC):
    """The order in which the positions of a slice are coded."""

    count: int

    @abstractmethod
    def masks(self, like: Tensor) -> list[Bool[Tensor, "h w"]]:
        """The positions of each pass; together all of ``like (b, c, h, w)``."""


class OnePass(Passes):
    """All positions at once."""

    count = 1

    def masks(self, like: Tensor) -> list[Bool[Tensor, "h w"]]:
        return [torch.ones(like.shape[2:], dtype=torch.bool, device=like.device)]


class Checkerboard(Passes):
    """Positions of even parity first, then those of odd parity between them."""

    count = 2

    def masks(self, like: Tensor) -> list[Bool[Tensor, "h w"]]:
        rows, columns = (torch.arange(n, device=like.device) for n in like.shape[2:])
        odd = (rows[:, None] + columns) % 2 == 1
        return [~odd, odd]


class ContextModel(Configured, nn.Module, ABC):
    """Says in which parts latents are coded and what is expected of each."""

    @abstractmethod
    def forward(self, features: Float[Tensor, "b f h w"], visit: Visit) -> Float[Tensor, "b d h w"]:
        """All values; ``visit`` is called once a part, in order. In evaluation everything it is given is exact."""


class HyperpriorOnly(ContextModel):
    """All latents in one part: the mean-scale hyperprior.

    Args:
        features: channels of the hyperprior's output.
        dim: channels of the latents.
        hidden: channels between.
    """

    def __init__(self, features: int, dim: int, hidden: int = 128) -> None:
        super().__init__()
        self.network = Expectation(features, dim, hidden, kernel=1)

    def forward(self, features: Float[Tensor, "b f h w"], visit: Visit) -> Float[Tensor, "b d h w"]:
        means, index = self.network(features)
        (mask,) = OnePass().masks(features)
        return visit(Part(0, means.shape[1], mask), means, index)


class Slices(ContextModel):
    """Slices of channels one after the other, each in passes, with latent residual prediction after each slice.

    Published with window attention and convolutions of twice this depth, in floats.

    Args:
        features: channels of the hyperprior's output.
        dim: channels of the latents.
        shares: of the channels, one per slice: ``(1, 1, 2, 4)`` cuts 128 into 16, 16, 32 and 64.
        passes: over the positions of a slice.
        hidden: channels of the networks.
    """

    def __init__(self, features: int, dim: int, shares: tuple[int, ...], passes: Passes, hidden: int = 128) -> None:
        super().__init__()
        edges = [dim * end // sum(shares) for end in itertools.accumulate(shares, initial=0)]
        slices = [end - start for start, end in itertools.pairwise(edges)]
        if not slices or min(slices) < 1:
            raise CodecError(f"shares {tuple(shares)} of {dim} channels leave a slice empty: give fewer or equal ones")
        self.slices, self.passes = slices, passes
        self.expectations, self.residuals = nn.ModuleList(), nn.ModuleList()
        before = features
        for size in slices:
            more = [size * (index > 0) for index in range(passes.count)]
            self.expectations.extend(Expectation(before + extra, size, hidden, kernel=3) for extra in more)
            self.residuals.append(Residual(before + size, size, hidden))
            before += size

    def forward(self, features: Float[Tensor, "b f h w"], visit: Visit) -> Float[Tensor, "b d h w"]:
        masks, known, done, first = self.passes.masks(features), features, [], 0
        networks = iter(self.expectations)
        for size, residual in zip(self.slices, self.residuals, strict=True):
            values = features.new_zeros(len(features), size, *features.shape[2:])
            for index, mask in enumerate(masks):
                seen = torch.cat([known, shrunk(values)], dim=1) if index else known
                means, scales = next(networks)(seen)
                values = values + visit(Part(first, first + size, mask), means, scales)
            values = values + residual(torch.cat([known, shrunk(values)], dim=1))
            known, first = torch.cat([known, shrunk(values)], dim=1), first + size
            done.append(values)
        return torch.cat(done, dim=1)


class Expectation(nn.Module):
    """Means and scale indices of ``dim`` channels, from values on the grid."""

    def __init__(self, channels: int, dim: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.first = ExactConv(channels, hidden, kernel)
        self.second = ExactConv(hidden, hidden, 1)
        self.means = ExactConv(hidden, dim, 1, steps=MEAN_STEPS)
        self.scales = ExactConv(hidden, dim, 1, steps=SCALE_STEPS)

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b d h w"], Float[Tensor, "b d h w"]]:
        x = activation(self.second(activation(self.first(x))))
        means = rounded(self.means(x), float(MEAN_STEPS), -LARGEST_MEAN, LARGEST_MEAN)
        return means, rounded(self.scales(x) * SCALE_STEPS + FIRST_INDEX, 1.0, 0.0, SCALES - 1.0)


class Residual(nn.Module):
    """What rounding has probably taken from values, -1/2 to 1/2 of a step."""

    def __init__(self, channels: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.first = ExactConv(channels, hidden, 3)
        self.last = ExactConv(hidden, dim, 1, steps=MEAN_STEPS)
        nn.init.zeros_(self.last.conv.weight)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        return rounded(self.last(activation(self.first(x))), float(MEAN_STEPS), -0.5, 0.5)


def shrunk(values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Values as networks see them: on the grid, the largest cut."""
    return rounded(values / SHRINK, float(GRID), -LIMIT, LIMIT)


def grid_of(shape: Shape, stride: int) -> Shape:
    return tuple(-(-n // stride) for n in shape)
