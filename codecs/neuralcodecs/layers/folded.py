"""Convolutions whose normalised weight is kept while it does not change, instead of being computed in every call.

A step of a stream reads a few samples and, with weight norm, all weights three times.
"""

import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuralcodecs.layers.fused import biased
from neuralcodecs.layers.paths import asked
from neuralcodecs.layers.rows import convolve, convolve_transposed
from neuralcodecs.layers.thin import convolve as convolve_thin

ConvNd = nn.Conv1d | nn.Conv2d | nn.Conv3d
ConvTransposeNd = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Version = tuple[int, ...]

_PLAIN: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


FEW = 2
"""Channels for which ``layers.thin`` is the faster way on a GPU."""


class Folded:
    """Applies a convolution; in evaluation and without gradients with the weight of the last call, if it is the same.

    The same means: its parameters are the same tensors, lie where they did, and nothing has written to them. Results
    are equal to the bit.
    """

    def __init__(self) -> None:
        self._sources: list[nn.Parameter] = []  # held, so that no other tensor can take their place in memory
        self._version: Version = ()
        self._weight: Tensor | None = None

    def __call__(self, conv: ConvNd | ConvTransposeNd, x: Tensor, zeros: tuple[int, ...] = ()) -> Tensor:
        """``zeros``: positions on either side of each axis, of a convolution that has none itself."""
        if conv.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            self._weight = None  # training would not use it, and a compiler cannot see where weights lie
            return _apply(conv, x, conv.weight, zeros) if zeros or x.is_cuda else conv(x)
        return _apply(conv, x, self._current(conv), zeros)

    def _current(self, conv: ConvNd | ConvTransposeNd) -> Tensor:
        sources = list(conv.parameters())
        if any(source.is_inference() for source in sources):
            return conv.weight  # these do not count what is written to them
        version = tuple(number for source in sources for number in (source.data_ptr(), source._version))
        same = len(sources) == len(self._sources) and all(map(operator.is_, sources, self._sources))
        if self._weight is None or not same or version != self._version:
            self._sources, self._version, self._weight = sources, version, conv.weight.detach()
        return self._weight


def is_thin(conv: ConvNd | ConvTransposeNd) -> bool:
    """Whether it is one that ``layers.thin`` can compute: of one axis, stride 1 and few channels on a side."""
    plain = tuple(conv.stride) == (1,) and conv.groups == 1 and conv.kernel_size[0] > 1
    return plain and not conv.transposed and min(conv.in_channels, conv.out_channels) <= FEW


def _apply(conv: ConvNd | ConvTransposeNd, x: Tensor, weight: Tensor, zeros: tuple[int, ...]) -> Tensor:
    axes, bias, rows = len(conv.kernel_size), conv.bias, asked("rows", x)
    if x.is_cuda and is_thin(conv):
        x = F.pad(x, (*zeros, *zeros)) if zeros else x
        return convolve_thin(x, weight, bias, conv.dilation[0], rows)
    if axes == 1 and rows:
        if conv.transposed:
            return convolve_transposed(x, weight, bias, conv.stride[0], conv.dilation[0], conv.groups)
        return convolve(x, weight, bias, conv.stride[0], conv.dilation[0], conv.groups, *zeros)
    apart = axes == 1 and bias is not None and asked("fused", x)  # cuDNN adds it in a slow pass of its own
    added = None if apart else bias
    if conv.transposed:
        sizes = conv.stride, conv.padding, conv.output_padding, conv.groups, conv.dilation
        y = _TRANSPOSED[axes](x, weight, added, *sizes)
    else:
        y = _PLAIN[axes](x, weight, added, conv.stride, zeros or conv.padding, conv.dilation, conv.groups)
    return biased(y, bias) if apart and bias is not None else y
