"""One-axis convolutions with the channels of a position side by side in memory, where ``layers.paths`` asks for it.

cuDNN's tensor-core kernels want signals ``(b, c, t)`` as rows ``(b, t, c)``: given them otherwise, it transposes every
input and output. Here a network's signals stay rows from its first convolution to its last, seen as ``(b, c, t)``: what
is pointwise keeps the order in memory. Values are those of torch's layers.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.layers.fused import biased
from neuralcodecs.layers.paths import asked


def are_rows(signal: Tensor) -> bool:
    """Whether it is ``(b, c, t)`` with its channels side by side, and to be kept so."""
    return asked("rows", signal) and signal.ndim == 3 and signal.shape[1] > 1 and signal.stride(1) == 1


def convolve(
    x: Float[Tensor, "b c t"],
    weight: Float[Tensor, "d e k"],
    bias: Float[Tensor, " d"] | None,
    stride: int,
    dilation: int,
    groups: int,
    zeros: int = 0,
) -> Float[Tensor, "b d n"]:
    """``F.conv1d`` with so many zeros on either side; rows come out."""
    y = F.conv2d(_flat(x), _flat(weight), None, (1, stride), (0, zeros), (1, dilation), groups)
    return _finished(y, bias)


def convolve_transposed(
    x: Float[Tensor, "b c n"],
    weight: Float[Tensor, "c e k"],
    bias: Float[Tensor, " d"] | None,
    stride: int,
    dilation: int,
    groups: int,
) -> Float[Tensor, "b d t"]:
    """``F.conv_transpose1d`` without padding; rows come out."""
    if groups == dilation == 1 < stride:
        return _finished(_by_blocks(x, weight, stride), bias)
    y = F.conv_transpose2d(_flat(x), _flat(weight), None, (1, stride), 0, 0, groups, (1, dilation))
    return _finished(y, bias)


def _by_blocks(x: Float[Tensor, "b c n"], weight: Float[Tensor, "c e k"], stride: int) -> Float[Tensor, "b e 1 t"]:
    """As a convolution without stride that makes a block of ``stride`` positions, which as rows lie where they belong.

    cuDNN has it as the gradient of a convolution with a stride: DAC's four take 8.0 ms on an H200 for 16 x 10 s, as
    blocks 5.0.
    """
    kernel, windows = weight.shape[-1], -(-weight.shape[-1] // stride)
    taps = F.pad(weight, (0, windows * stride - kernel)).unflatten(-1, (windows, stride))
    blocks = taps.flip(2).permute(3, 1, 0, 2).flatten(0, 1)  # (s e) c q: the last of a block's windows comes first
    y = F.conv2d(_flat(x), _flat(blocks), None, 1, (0, windows - 1))
    rows = y.permute(0, 2, 3, 1).unflatten(-1, (stride, -1)).flatten(2, 3)
    return rows.permute(0, 3, 1, 2)[..., : (x.shape[-1] - 1) * stride + kernel]


def padded(x: Float[Tensor, "b c t"], left: int, right: int, reflect: bool) -> Float[Tensor, "b c padded"]:
    """Rows with zeros, or their reflection, at both ends."""
    return _Padded.apply(x, left, right, reflect)


def _flat(x: Tensor) -> Tensor:
    return x.unsqueeze(2).contiguous(memory_format=torch.channels_last)


def _finished(y: Tensor, bias: Tensor | None) -> Tensor:
    y = y.contiguous(memory_format=torch.channels_last)
    return (y if bias is None else biased(y, bias)).squeeze(2)


def _empty(like: Tensor, length: int) -> Tensor:
    return like.new_empty(len(like), length, like.shape[1]).transpose(1, 2)


class _Padded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, left: int, right: int, reflect: bool) -> Tensor:
        ctx.sides = left, right, reflect
        length = x.shape[-1]
        y = _empty(x, left + length + right)
        y[..., left : left + length] = x
        for side, inside in _ends(length, left, right):
            y[..., side] = x[..., inside].flip(-1) if reflect else 0
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        left, right, reflect = ctx.sides
        length = gradient.shape[-1] - left - right
        at_x = _empty(gradient, length)
        at_x.copy_(gradient[..., left : left + length])
        for side, inside in _ends(length, left, right) if reflect else ():
            at_x[..., inside] += gradient[..., side].flip(-1)
        return at_x, None, None, None


def _ends(length: int, left: int, right: int) -> tuple[tuple[slice, slice], ...]:
    """For each padded end, where it is and what is mirrored there."""
    return (
        (slice(0, left), slice(1, left + 1)),
        (slice(left + length, left + length + right), slice(length - right - 1, length - 1)),
    )
