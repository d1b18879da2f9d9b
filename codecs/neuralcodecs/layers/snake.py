"""The periodic activation of DAC and its residual unit (https://arxiv.org/abs/2306.06546, 3.1; Snake: 2006.08195)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.layers.conv import Conv, TransposedConv
from neuralcodecs.layers.folded import ConvNd
from neuralcodecs.layers.fused import snake
from neuralcodecs.layers.streamed import Chain, Pointwise, State, Streamed, aligned

TINY = 1e-9  # the published guard against a frequency of 0


class Snake(Pointwise):
    """``x + sin(alpha x)^2 / alpha`` on any number of axes, ``alpha`` being learned per channel and 1 at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        return snake(x, self.alpha, TINY)


class SnakeUnit(Streamed):
    """Snake, dilated convolution of kernel 7, Snake, convolution of kernel 1, plus the input ``(b, channels, t)``."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.channels = channels
        self.block = Chain(
            Snake(channels),
            same(nn.Conv1d(channels, channels, 7, dilation=dilation)),
            Snake(channels),
            same(nn.Conv1d(channels, channels, 1)),
        )

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b c t"]:
        return x + self.block(x)

    def start(self, batch: int) -> State:
        nothing = next(self.parameters()).new_zeros(batch, self.channels, 0)
        return State(parts=(self.block.start(batch), State((nothing, nothing))))

    def step(self, x: Float[Tensor, "b c t"], state: State, last: bool) -> tuple[Float[Tensor, "b c n"], State]:
        before_block, before_sum = state.parts
        made, block = self.block.step(x, before_block, last)
        (skipped, made), waiting = aligned((x, made), before_sum.tensors)
        return skipped + made, State(parts=(block, State(waiting)))

    def reach(self, position: int) -> int:
        return max(position, self.block.reach(position))


def same(conv: ConvNd) -> Conv:
    """DAC's convolution: zeros on both sides, weight norm, biases 0 at first.

    Weights start from torch's default. The published code draws them from a truncated normal of deviation .02, but into
    a tensor that its weight norm computes anew at every forward; drawn for real, all codebooks shrink to one code
    within 20 steps (of 16 filters, at the published rate).
    """
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return Conv(conv, norm="weight_norm")


class Upsample(Streamed):
    """A transposed convolution of kernel 2s; n positions become n * s, one less where the stride s is odd.

    The missing last position is that of the published layer, which cuts ceil(s / 2) on both sides.
    """

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv = TransposedConv(nn.ConvTranspose1d(inside, outside, 2 * stride, stride), norm="weight_norm")
        self.surplus = stride % 2

    def forward(self, x: Float[Tensor, "b c n"]) -> Float[Tensor, "b d t"]:
        output = self.conv(x)
        return output[..., : output.shape[-1] - self.surplus]

    def start(self, batch: int) -> State:
        return self.conv.start(batch)

    def step(self, x: Float[Tensor, "b c n"], state: State, last: bool) -> tuple[Float[Tensor, "b d t"], State]:
        output, state = self.conv.step(x, state, last)
        return output[..., : output.shape[-1] - self.surplus] if last and output.shape[-1] else output, state

    def reach(self, position: int) -> int:
        return self.conv.reach(position)
