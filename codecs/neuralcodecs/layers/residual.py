"""Residual unit of SEANet, shared by encoder and decoder (EnCodec, https://arxiv.org/abs/2210.13438, section 3.1)."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.layers.initialisation import identity, keep_variance

BRANCH_GAIN = 0.3
"""Of a fresh unit's block beside its skip: a stack of units starts near the identity, and soon learns."""


class ResidualUnit(nn.Module):
    """ELU, dilated convolution of kernel 3 to half the channels, ELU, convolution of kernel 1 back, plus the input.

    The paper speaks of two kernels of size 3; the published weights have 3 and 1. A fresh unit's skip passes its input.

    Args:
        dim: channels in and out.
        convolution: pads and normalises a plain convolution, as in the rest of the network.
        dilation: of the first convolution.
        true_skip: add the input itself (AudioCraft, Mimi) instead of its 1x1 convolution (EnCodec).
    """

    def __init__(
        self, dim: int, convolution: Callable[[nn.Conv1d], nn.Module], dilation: int = 1, true_skip: bool = False
    ) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ELU(),
            convolution(keep_variance(nn.Conv1d(dim, dim // 2, 3, dilation=dilation))),
            nn.ELU(),
            convolution(keep_variance(nn.Conv1d(dim // 2, dim, 1), BRANCH_GAIN)),
        )
        self.shortcut = nn.Identity() if true_skip else convolution(identity(nn.Conv1d(dim, dim, 1)))

    def forward(self, x: Float[Tensor, "b c t"]) -> Float[Tensor, "b c t"]:
        return self.shortcut(x) + self.block(x)
