"""The contract of networks that a generative decoder asks for a direction, and how time reaches them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.configured import Configured
from neuralcodecs.decoders.condition import Condition, Widths
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import group_norm, linear

WAVES = 64
"""Sines and as many cosines of a time or a guidance scale."""


class Network(Configured, nn.Module, ABC):
    """What a point of the path is made of: a representation with noise in, the process's prediction out.

    ``framewise``: whether positions along the first axis do not know of each other.
    """

    framewise: bool = False

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "b c *space"],
        time: Float[Tensor, " b"],
        guidance: Float[Tensor, " b"],
        condition: Condition,
    ) -> Float[Tensor, "b c *space"]:
        """``time`` from 0 (noise) to 1; ``guidance``: scale that the output shall have, 1 unless it was distilled."""

    @abstractmethod
    def sizes(self, size: Shape) -> tuple[Shape, ...]:
        """Sizes of its levels for an input of ``size``, the input's first: those of the maps that it can take."""


NetworkFactory = Callable[[int, int, Widths], Network]
"""Called with ``channels`` of the representation, its number of ``axes`` and the ``widths`` of the condition."""


class TimeEmbedding(nn.Module):
    """Time, guidance and the condition's vector as one vector that norms are scaled and shifted by.

    Args:
        width: of the result.
        vector: channels of the condition's vector, 0 for none.
    """

    def __init__(self, width: int, vector: int) -> None:
        super().__init__()
        self.time, self.last = linear(2 * WAVES, width, math.sqrt(2)), linear(width, width, 1.677)
        self.guidance = linear(2 * WAVES, width, 0.0)  # silent until a distilled network learns it
        self.vector = linear(vector, width) if vector else None

    def forward(
        self, time: Float[Tensor, " b"], guidance: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b width"]:
        embedded = self.time(_waves(time)) + self.guidance(_waves(guidance - 1))
        if self.vector is not None:
            embedded = embedded + self.vector(condition.vector)
        return self.last(nn.functional.silu(embedded))


class TimeNorm(nn.Module):
    """Group norm, scaled and shifted per channel by what a layer makes of the embedded time; starts as a plain norm."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, affine=False)
        self.modulation = linear(width, 2 * channels, 0.0)

    def forward(
        self, x: Float[Tensor, "b c *space"], embedded: Float[Tensor, "b width"]
    ) -> Float[Tensor, "b c *space"]:
        modulation = self.modulation(nn.functional.silu(embedded))
        scale, shift = modulation.view(*modulation.shape, *(1,) * (x.ndim - 2)).chunk(2, dim=1)
        return self.norm(x) * (1 + scale) + shift


def check_maps(widths: Widths, levels: int) -> None:
    """CodecError where a condition has more maps than a network has levels."""
    if len(widths.maps) > levels:
        raise CodecError(f"{len(widths.maps)} maps for a network of {levels} levels: give the pyramid fewer widths")


def _waves(values: Float[Tensor, " b"]) -> Float[Tensor, "b w"]:
    frequencies = torch.logspace(0, 2, WAVES, device=values.device)  # higher ones make near times look unlike
    angles = values[:, None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
