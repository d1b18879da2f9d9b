"""Causal ConvNeXt units along time (https://arxiv.org/abs/2201.03545; as a vocoder's trunk: https://arxiv.org/abs/2306.00814)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.layers.conv import Conv
from neuralcodecs.layers.initialisation import keep_variance
from neuralcodecs.layers.streamed import Chain, Pointwise, State, Streamed


class GELU(Pointwise, nn.GELU):
    """torch's GELU."""


class ChannelNorm(Pointwise):
    """Layer norm over the channels of each position, ``(b, c, *grid)``: no position sees another."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b c *grid"]:
        return F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias).movedim(-1, 1)


class DepthwiseUnit(Streamed):
    """``x + scale * (depthwise Conv, ChannelNorm, Conv 1 up, GELU, Conv 1 down)(x)``, all along one causal axis.

    Args:
        channels: in and out.
        kernel: of the depthwise convolution, all of it in the past.
        expansion: channels between the two pointwise convolutions over ``channels``.
        scale: of the branch at the start, learned per channel.
    """

    def __init__(self, channels: int, kernel: int = 7, expansion: float = 3.0, scale: float = 0.1) -> None:
        super().__init__()
        hidden = round(channels * expansion)
        self.branch = Chain(
            Conv(keep_variance(nn.Conv1d(channels, channels, kernel, groups=channels)), causal=True),
            ChannelNorm(channels),
            Conv(keep_variance(nn.Conv1d(channels, hidden, 1))),
            GELU(),
            Conv(keep_variance(nn.Conv1d(hidden, channels, 1))),
        )
        self.scale = nn.Parameter(torch.full((channels, 1), scale))

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b c t"]:
        return x + self.scale * self.branch(x)

    def start(self, batch: int) -> State:
        return self.branch.start(batch)

    def step(self, x: Float[Tensor, "b c t"], state: State, last: bool) -> tuple[Float[Tensor, "b c t"], State]:
        made, state = self.branch.step(x, state, last)  # causal with stride 1: as many positions out as in
        return x + self.scale * made, state

    def reach(self, position: int) -> int:
        return self.branch.reach(position)
