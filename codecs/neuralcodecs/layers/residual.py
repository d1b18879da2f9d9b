"""Residual unit of SEANet, shared by encoder and decoder (EnCodec, https://arxiv.org/abs/2210.13438, section 3.1)."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.layers.initialisation import identity, keep_variance
from neuralcodecs.layers.streamed import ELU, Chain, Identity, State, Streamed, aligned

BRANCH_GAIN = 0.3
"""Of a fresh unit's block beside its skip: a stack of units starts near the identity, and soon learns."""


class ResidualUnit(Streamed):
    """ELU, dilated convolution of kernel 3 to half the channels, ELU, convolution of kernel 1 back, plus the input.

    The paper speaks of two kernels of size 3; the published weights have 3 and 1. A fresh unit's skip passes its input.

    Args:
        dim: channels in and out.
        convolution: pads and normalises a plain convolution, as in the rest of the network.
        dilation: of the first convolution.
        true_skip: add the input itself (AudioCraft, Mimi) instead of its 1x1 convolution (EnCodec).
    """

    def __init__(
        self, dim: int, convolution: Callable[[nn.Conv1d], Streamed], dilation: int = 1, true_skip: bool = False
    ) -> None:
        super().__init__()
        self.dim = dim
        self.block = Chain(
            ELU(),
            convolution(keep_variance(nn.Conv1d(dim, dim // 2, 3, dilation=dilation))),
            ELU(),
            convolution(keep_variance(nn.Conv1d(dim // 2, dim, 1), BRANCH_GAIN)),
        )
        self.shortcut: Streamed = Identity() if true_skip else convolution(identity(nn.Conv1d(dim, dim, 1)))

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b c t"]:
        return self.shortcut(x) + self.block(x)

    def start(self, batch: int) -> State:
        nothing = next(self.parameters()).new_zeros(batch, self.dim, 0)
        return State(parts=(self.shortcut.start(batch), self.block.start(batch), State((nothing, nothing))))

    def step(self, x: Float[Tensor, "b c t"], state: State, last: bool) -> tuple[Float[Tensor, "b c n"], State]:
        before_shortcut, before_block, before_sum = state.parts
        skipped, shortcut = self.shortcut.step(x, before_shortcut, last)
        made, block = self.block.step(x, before_block, last)
        (skipped, made), waiting = aligned((skipped, made), before_sum.tensors)
        return skipped + made, State(parts=(shortcut, block, State(waiting)))

    def reach(self, position: int) -> int:
        return max(self.shortcut.reach(position), self.block.reach(position))
