"""What a generative decoder's network is told of the latents: maps beside its input, tokens to attend to, a vector.

latents (b d *grid) --Conditioner--> Condition --> Network(x, time, guidance, condition)
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.codes import Shape
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import CONVS, State, keep_variance, linear, residual_stage

Part = Literal["maps", "tokens", "vector"]
Parts = tuple[Part, ...]
ALL: Parts = ("maps", "tokens", "vector")


@dataclass(frozen=True)
class Condition:
    """``maps``: ``(b, m, *space)`` each, the finest first; ``tokens``: ``(b, n, c)``; ``vector``: ``(b, v)``."""

    maps: tuple[Tensor, ...] = ()
    tokens: Tensor | None = None
    vector: Tensor | None = None

    def without(self, dropped: Parts, items: Bool[Tensor, " b"]) -> "Condition":
        """With zeros for some parts of some items: what a network sees that is told nothing."""

        def kept(tensor: Tensor) -> Tensor:
            return tensor * (~items).to(tensor).view(-1, *(1,) * (tensor.ndim - 1))

        return Condition(
            tuple(map(kept, self.maps)) if "maps" in dropped else self.maps,
            kept(self.tokens) if "tokens" in dropped and self.tokens is not None else self.tokens,
            kept(self.vector) if "vector" in dropped and self.vector is not None else self.vector,
        )


@dataclass(frozen=True)
class Widths:
    """Channels of each map, the finest first, of the tokens and of the vector; 0 where there is none."""

    maps: tuple[int, ...] = ()
    tokens: int = 0
    vector: int = 0

    @property
    def parts(self) -> Parts:
        """The parts that there are."""
        there = {"maps": bool(self.maps), "tokens": bool(self.tokens), "vector": bool(self.vector)}
        return tuple(part for part in ALL if there[part])


class Conditioner(Configured, nn.Module, ABC):
    """Makes a condition of latents. ``widths``: of what it makes. ``strides``: the codec's, samples per position."""

    widths: Widths
    strides: Shape

    @abstractmethod
    def forward(self, latents: Float[Tensor, "b d *grid"], sizes: Sequence[Shape]) -> Condition:
        """``sizes``: of the network's levels, the finest, that of its input, first."""

    def start(self, batch: int) -> State:
        """The state before the first latents of ``batch`` streams."""
        raise self.unable()

    def step(
        self, latents: Float[Tensor, "b d *grid"], sizes: Sequence[Shape], state: State
    ) -> tuple[Condition, State]:
        """The condition of what ``latents`` stand for, which follow those before; ``sizes``: of its levels."""
        raise self.unable()

    def unable(self) -> CodecError:
        return CodecError(f"{type(self).__name__} looks at all latents: decode whole signals, or use CausalPyramid")

    def extent(self, grid: Shape) -> Shape:
        """Samples along each axis of the signal that latents of ``grid`` stand for."""
        if len(grid) != len(self.strides):
            raise CodecError(
                f"latents on {len(grid)} axes for a signal on {len(self.strides)}: give K tokens to Tokens"
            )
        return tuple(n * s for n, s in zip(grid, self.strides, strict=True))


ConditionerFactory = Callable[[int, tuple[int, ...]], Conditioner]
"""Called with ``dim, strides``."""


class UpsampledMap(Conditioner):
    """The latents, mixed by a convolution and stretched to the network's input.

    Args:
        dim, strides: of the latents.
        width: channels of the map.
        blocks: residual blocks at the latents' own resolution.
    """

    def __init__(self, dim: int, strides: Shape, width: int = 64, blocks: int = 1) -> None:
        super().__init__()
        self.strides, self.widths = tuple(strides), Widths(maps=(width,))
        axes = len(strides)
        self.first = keep_variance(CONVS[axes](dim, width, 3, padding=1))
        self.blocks = nn.Sequential(*residual_stage(width, width, blocks, axes))

    def forward(self, latents: Float[Tensor, "b d *grid"], sizes: Sequence[Shape]) -> Condition:
        return Condition((stretched(self.blocks(self.first(latents)), sizes[0]),))


class Pyramid(Conditioner):
    """A map for each of the network's finest levels, made from the coarsest up: CDT's (arXiv 2503.03708).

    Args:
        dim, strides: of the latents.
        widths: channels at each level, the finest first; at most as many as the network has levels.
        blocks: residual blocks at each level.
    """

    def __init__(self, dim: int, strides: Shape, widths: tuple[int, ...] = (32, 64, 64), blocks: int = 1) -> None:
        super().__init__()
        self.strides, self.widths = tuple(strides), Widths(maps=tuple(widths))
        axes = len(strides)
        self.first = keep_variance(CONVS[axes](dim, widths[-1], 3, padding=1))
        befores = (*widths[1:], widths[-1])
        levels = zip(befores, widths, strict=True)
        self.levels = nn.ModuleList(nn.Sequential(*residual_stage(a, b, blocks, axes)) for a, b in levels)

    def forward(self, latents: Float[Tensor, "b d *grid"], sizes: Sequence[Shape]) -> Condition:
        x, maps = self.first(latents), []
        for level, size in reversed(list(zip(self.levels, sizes, strict=False))):
            x = level(stretched(x, size))
            maps.append(x)
        return Condition(tuple(reversed(maps)))


class Tokens(Conditioner):
    """Every position of the latents as a token that the network attends to.

    Args:
        dim, strides: of the latents.
        width: of the tokens.
        count: K, of an encoder whose K tokens stand for a signal of ``strides``; None for latents on the signal's grid.
    """

    def __init__(self, dim: int, strides: Shape, width: int = 256, count: int | None = None) -> None:
        super().__init__()
        self.strides, self.widths, self.count = tuple(strides), Widths(tokens=width), count
        self.first = linear(dim, width)

    def forward(self, latents: Float[Tensor, "b d *grid"], sizes: Sequence[Shape]) -> Condition:
        tokens = self.first(latents.flatten(2).transpose(1, 2))
        return Condition(tokens=tokens + positions(tuple(latents.shape[2:]), tokens.shape[-1], tokens))

    def extent(self, grid: Shape) -> Shape:
        if self.count is None:
            return super().extent(grid)
        if grid != (self.count,):
            raise CodecError(f"latents of grid {grid} for {self.count} tokens: give decoder and encoder the same count")
        return self.strides


class Pooled(Conditioner):
    """Mean and deviation of the latents over all positions, for adaptive norms.

    Args:
        dim, strides: of the latents.
        width: of the vector.
        count: as for ``Tokens``.
    """

    def __init__(self, dim: int, strides: Shape, width: int = 128, count: int | None = None) -> None:
        super().__init__()
        self.strides, self.widths, self.count = tuple(strides), Widths(vector=width), count
        self.first = linear(2 * dim, width)

    def forward(self, latents: Float[Tensor, "b d *grid"], sizes: Sequence[Shape]) -> Condition:
        flat = latents.flatten(2)
        deviation = (flat.var(dim=-1, correction=0) + 1e-6).sqrt()
        return Condition(vector=self.first(torch.cat([flat.mean(dim=-1), deviation], dim=1)))

    def extent(self, grid: Shape) -> Shape:
        return super().extent(grid) if self.count is None else self.strides


class Together(Conditioner):
    """What several conditioners make: maps of one, tokens of another, a vector of a third. The first given names the
    signal's extent.

    Args:
        dim, strides: of the latents, given to each.
        maps, tokens, vector: called with them; each makes the part that it is named for.
    """

    made_by_codec = dict.fromkeys(ALL, ("dim", "strides"))

    def __init__(
        self,
        dim: int,
        strides: Shape,
        maps: ConditionerFactory | None = None,
        tokens: ConditionerFactory | None = None,
        vector: ConditionerFactory | None = None,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        given = {"maps": maps, "tokens": tokens, "vector": vector}
        made = {part: factory(dim, self.strides) for part, factory in given.items() if factory is not None}
        if not made or any(conditioner.widths.parts != (part,) for part, conditioner in made.items()):
            raise CodecError(f"conditioners of {', '.join(made) or 'no part'}: give one or more, each making its part")
        for part, conditioner in made.items():
            self.add_module(part, conditioner)
        self._made = tuple(made)
        self.widths = Widths(**{part: getattr(conditioner.widths, part) for part, conditioner in made.items()})

    def forward(self, latents: Float[Tensor, "b d *grid"], sizes: Sequence[Shape]) -> Condition:
        made = {part: self.get_submodule(part)(latents, sizes) for part in self._made}
        return Condition(**{part: getattr(condition, part) for part, condition in made.items()})

    def extent(self, grid: Shape) -> Shape:
        return getattr(self, self._made[0]).extent(grid)


def stretched(x: Float[Tensor, "b c *grid"], size: Shape) -> Float[Tensor, "b c *size"]:
    """The nearest position of ``x`` for each of ``size``."""
    return F.interpolate(x, size=size, mode="nearest-exact")


def positions(grid: Shape, width: int, like: Tensor) -> Float[Tensor, "n width"]:
    """Sines and cosines of each axis' index (https://arxiv.org/abs/1706.03762), side by side, of unit variance."""
    half = max(1, width // (2 * len(grid)))
    frequencies = torch.exp(-math.log(10_000.0) / half * torch.arange(half, device=like.device))
    axes = torch.meshgrid(*(torch.arange(n, device=like.device, dtype=torch.float32) for n in grid), indexing="ij")
    angles = [axis.flatten()[:, None] * frequencies for axis in axes]
    table = torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)[:, :width]
    return F.pad(math.sqrt(2) * table, (0, width - table.shape[1])).to(like)
