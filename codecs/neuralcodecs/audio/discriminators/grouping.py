"""Convolutions along frequency as a GPU does them fastest: over groups of bins, each one position of more channels.

The sums are the same. cuDNN's gradients of a convolution with stride cost several times its forward (64 of the 206 ms
of EnCodec's GAN step on an H200), and two input channels leave it no tensor cores; a convolution of stride 1 over
groups has neither fault. In channels-last memory a signal in groups is the signal, looked at in another way, if its
bins fill the groups: whoever calls keeps zeros behind the last bin.
"""

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

FEW_CHANNELS = 8
"""Below, cuDNN computes without tensor cores."""


def group(conv: nn.Conv2d) -> int:
    """Bins of the input that ``conv`` takes as one position; 1: it takes each by itself."""
    if conv.kernel_size[1] == 1:
        return 1
    return 2 if conv.stride[1] == 2 else 4 if conv.in_channels < FEW_CHANNELS else 1


def multiple(convs: Iterable[nn.Conv2d]) -> int:
    """Of what the bins must be a multiple, so that the inputs of all of these, one after the other, fill groups."""
    needed, stride = 1, 1
    for conv in convs:
        needed = math.lcm(needed, stride * group(conv))
        stride *= conv.stride[1]
    return math.lcm(needed, stride)


def unbiased(conv: nn.Conv2d, x: Float[Tensor, "b c n f"]) -> Float[Tensor, "b d m g"]:
    """Convolution without its bias, over groups of bins; ``f`` is a multiple of ``group(conv)``."""
    size = group(conv)
    if size == 1:
        return F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation)
    return in_groups(x, conv.weight, conv.dilation[0], size, conv.stride[1])


def in_groups(
    x: Float[Tensor, "b c n f"], weight: Float[Tensor, "d c i j"], dilation: int, size: int, stride: int
) -> Float[Tensor, "b d n g"]:
    """A convolution of stride (1, stride), padded to keep n and give f / stride bins, ``dilation`` being that along n.

    Its kernel is odd; ``size`` is a multiple of the stride, f one of the size. An input in channels-last memory is not
    copied, and neither is the output, which is in that order.
    """
    batch, channels, frames, bins = x.shape
    outside, _, rows, taps = weight.shape
    made = size // stride
    before = -(-(taps // 2) // size)  # groups that an output looks back
    after = (stride * (made - 1) + taps // 2) // size
    reach = max(before, after)
    width = (2 * reach + 1) * size
    lefts = [reach * size - taps // 2 + stride * index for index in range(made)]
    shifted = torch.stack([F.pad(weight, (left, width - taps - left)) for left in lefts])
    kernel = shifted.unflatten(-1, (-1, size)).permute(0, 1, 3, 4, 5, 2)  # made d rows groups size c
    kernel = kernel.reshape(made * outside, rows, -1, size * channels).permute(0, 3, 1, 2)
    groups = x.permute(0, 2, 3, 1).reshape(batch, frames, bins // size, size * channels).permute(0, 3, 1, 2)
    y = F.conv2d(groups, kernel, None, padding=(rows // 2 * dilation, reach), dilation=(dilation, 1))
    return y.permute(0, 2, 3, 1).reshape(batch, frames, bins // stride, outside).permute(0, 3, 1, 2)
