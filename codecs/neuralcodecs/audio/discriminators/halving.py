"""The convolution that spectral discriminators use to halve the frequency axis, as fast with a gradient as without.

cuDNN's gradients of a convolution with stride cost several times its forward: they took 64 of the 206 ms of EnCodec's
GAN step on an H200. The same sum is a convolution of stride 1 over pairs of bins: each pair is one position of twice
the channels, a kernel of 9 becomes 5 taps for either bin of the pair, one of them zero.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class HalvingConv2d(nn.Conv2d):
    """``nn.Conv2d`` of stride (1, 2) and odd kernels, padded to keep n and give ceil(f / 2) bins; any dilation along n.

    Args:
        inside: channels.
        outside: channels.
        kernel: along n and f; along f it is one more than a multiple of 4.
        dilation: along n.
    """

    def __init__(self, inside: int, outside: int, kernel: tuple[int, int] = (3, 9), dilation: int = 1) -> None:
        padding = (kernel[0] // 2 * dilation, kernel[1] // 2)
        super().__init__(inside, outside, kernel, (1, 2), padding, (dilation, 1))

    def forward(self, input: Float[Tensor, "b c n f"]) -> Float[Tensor, "b d n g"]:
        if input.device.type != "cuda":  # elsewhere strides cost nothing
            return super().forward(input)
        return in_pairs(input, self.weight, self.bias, self.dilation[0])


def in_pairs(
    x: Float[Tensor, "b c n f"], weight: Float[Tensor, "d c i j"], bias: Float[Tensor, " d"] | None, dilation: int
) -> Float[Tensor, "b d n g"]:
    """What ``HalvingConv2d`` computes, over pairs of bins; a channels-last input is only looked at in another way."""
    batch, channels, frames, bins = x.shape
    x = F.pad(x, (0, 1)) if bins % 2 else x  # a padding of nothing would be a copy
    pairs = x.permute(0, 2, 3, 1).reshape(batch, frames, -1, 2 * channels).permute(0, 3, 1, 2)
    outside, _, rows, taps = weight.shape
    paired = F.pad(weight, (0, 1)).unflatten(-1, (-1, 2))
    paired = paired.permute(0, 2, 3, 4, 1).reshape(outside, rows, -1, 2 * channels).permute(0, 3, 1, 2)
    return F.conv2d(pairs, paired, bias, padding=(rows // 2 * dilation, taps // 4), dilation=(dilation, 1))
