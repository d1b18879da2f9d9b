"""Chains of pointwise operations as one pass over memory on a GPU; elsewhere as torch has them.

Feature maps of discriminators are gigabytes per step: what is done to each value costs what reading and writing it
does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LARGEST = 2**31 - 2**24  # offsets of the kernels are 32 bits
_HAS_TRITON = find_spec("triton") is not None
_weights_too = True


@contextmanager
def inputs_only() -> Iterator[None]:
    """Gradients inside are wanted at inputs: those of biases are left out.

    Autograd tells its own functions what is asked for, but not those written in Python.
    """
    global _weights_too
    before, _weights_too = _weights_too, False
    try:
        yield
    finally:
        _weights_too = before


def biased_leaky(
    x: Float[Tensor, "b c *space"], bias: Float[Tensor, " c"], slope: float
) -> Float[Tensor, "b c *space"]:
    """``leaky_relu(x + bias)``, computed in place of ``x``, which nothing else may need."""
    if x.is_cuda and _HAS_TRITON and x.numel() < LARGEST and x.is_contiguous(memory_format=torch.channels_last):
        return _BiasedLeaky.apply(x, bias, slope)
    return F.leaky_relu_(x.add_(bias.to(x.dtype).view(-1, *(1,) * (x.ndim - 2))), slope)


def l1_means(
    target: Float[Tensor, "*shape"], output: Float[Tensor, "*shape"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Means of ``|target - output|``, which has a gradient at the output only, and of ``|target|``."""
    target = target.detach()
    if output.is_cuda and _HAS_TRITON and 0 < output.numel() < LARGEST and _same_memory(target, output):
        return _L1Means.apply(target, output)
    return (target - output).abs().mean(), target.abs().mean()


def _same_memory(a: Tensor, b: Tensor) -> bool:
    """Whether both fill their memory without gaps, in the same order."""
    span = 1 + sum((size - 1) * step for size, step in zip(a.shape, a.stride(), strict=True))
    return a.dtype == b.dtype and a.stride() == b.stride() and span == a.numel()


class _BiasedLeaky(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, slope: float) -> Tensor:
        from neuralcodecs.layers.fused_kernels import biased_leaky_

        biased_leaky_(x, bias, slope)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        ctx.slope, ctx.dtype = slope, bias.dtype
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (y,) = ctx.saved_tensors
        inside = torch.ops.aten.leaky_relu_backward(gradient, y, ctx.slope, True)
        axes = [axis for axis in range(inside.ndim) if axis != 1]
        wanted = _weights_too and ctx.needs_input_grad[1]
        return inside, inside.sum(axes, dtype=torch.float32).to(ctx.dtype) if wanted else None, None


class _L1Means(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, target: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        from neuralcodecs.layers.fused_kernels import l1_sums

        ctx.save_for_backward(target, output)
        difference, size = (l1_sums(target, output) / output.numel()).unbind()
        ctx.mark_non_differentiable(size)
        return difference, size

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[None, Tensor]:
        from neuralcodecs.layers.fused_kernels import l1_gradient

        target, output = ctx.saved_tensors
        return None, l1_gradient(target, output, gradient.float() / output.numel())
