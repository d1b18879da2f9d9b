"""The convolution that spectral discriminators use to halve the frequency axis, as fast with a gradient as without.

cuDNN's gradients of a convolution with stride cost several times its forward: they took 64 of the 206 ms of EnCodec's
GAN step on an H200, which takes 138 since. The same sum is a convolution of stride 1 over pairs of bins: each pair is
one position of twice the channels, a kernel of 9 becomes 5 taps for either bin of the pair, one of them zero.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def unbiased(conv: nn.Conv2d, x: Float[Tensor, "b c n f"]) -> Float[Tensor, "b d m g"]:
    """Convolution without its bias; on a GPU over pairs of bins where it halves them."""
    if conv.stride == (1, 2) and x.is_cuda:
        return in_pairs(x, conv.weight, conv.dilation[0])
    return F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation)


def in_pairs(x: Float[Tensor, "b c n f"], weight: Float[Tensor, "d c i j"], dilation: int) -> Float[Tensor, "b d n g"]:
    """A convolution of stride (1, 2), padded to keep n and give ceil(f / 2) bins, ``dilation`` being that along n.

    Its kernel is odd, and along f one more than a multiple of 4. An input in channels-last memory with an even number
    of bins is not copied, but looked at in another way.
    """
    batch, channels, frames, bins = x.shape
    x = F.pad(x, (0, 1)) if bins % 2 else x  # a padding of nothing would be a copy
    pairs = x.permute(0, 2, 3, 1).reshape(batch, frames, -1, 2 * channels).permute(0, 3, 1, 2)
    outside, _, rows, taps = weight.shape
    paired = F.pad(weight, (0, 1)).unflatten(-1, (-1, 2))
    paired = paired.permute(0, 2, 3, 4, 1).reshape(outside, rows, -1, 2 * channels).permute(0, 3, 1, 2)
    return F.conv2d(pairs, paired, None, padding=(rows // 2 * dilation, taps // 4), dilation=(dilation, 1))
