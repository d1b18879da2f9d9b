"""Chains of pointwise operations as one pass over memory on a GPU; elsewhere as torch has them.

Feature maps of discriminators are gigabytes per step: what is done to each value costs what reading and writing it
does.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LARGEST = 2**31 - 2**24  # offsets of the kernels are 32 bits
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
    fits = x.numel() < LARGEST and x.is_contiguous(memory_format=torch.channels_last)
    if x.is_cuda and fits and kernels() is not None:
        return _BiasedLeaky.apply(x, bias, slope)
    return F.leaky_relu_(x.add_(bias.to(x.dtype).view(-1, *(1,) * (x.ndim - 2))), slope)


def biased(x: Float[Tensor, "b c *space"], bias: Float[Tensor, " c"]) -> Float[Tensor, "b c *space"]:
    """``x + bias``, computed in place of ``x``, which nothing else may need."""
    fits = x.numel() < LARGEST and x.is_contiguous(memory_format=torch.channels_last)
    if x.is_cuda and fits and kernels() is not None:
        return _Biased.apply(x, bias)
    return x.add_(bias.to(x.dtype).view(-1, *(1,) * (x.ndim - 2)))


def snake(x: Float[Tensor, "b c t"], alpha: Float[Tensor, " c"], tiny: float) -> Float[Tensor, "b c t"]:
    """``x + sin(alpha x)^2 / (alpha + tiny)`` of signals on a GPU, in their precision, channels side by side in memory.

    Between two convolutions under autocast that precision is theirs: torch's own operations would go through fp32 and
    be rounded to it by the next. What is kept for the gradient is ``x`` alone, not four arrays of its size.
    """
    return _Snake.apply(x.transpose(1, 2).contiguous().transpose(1, 2), alpha, tiny)


def l1_means(
    target: Float[Tensor, "*shape"], output: Float[Tensor, "*shape"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Means of ``|target - output|``, which has a gradient at the output only, and of ``|target|``."""
    target = target.detach()
    fits = 0 < output.numel() < LARGEST and _same_memory(target, output)
    if output.is_cuda and fits and kernels() is not None:
        return _L1Means.apply(target, output)
    return (target - output).abs().mean(), target.abs().mean()


@cache
def kernels() -> Any:
    """The Triton kernels, or None, with a warning, where they cannot be had: it needs a C compiler too."""
    try:
        from neuralcodecs.layers import fused_kernels

        probe = torch.ones(1, 1, 1, 1, device="cuda")
        fused_kernels.biased_leaky_(probe, probe.flatten(), 0.5)
    except Exception as error:  # whatever compilers and drivers raise
        warnings.warn(f"pointwise operations are not fused: {error}", stacklevel=3)
        return None
    return fused_kernels


def _same_memory(a: Tensor, b: Tensor) -> bool:
    """Whether both fill their memory without gaps, in the same order."""
    span = 1 + sum((size - 1) * step for size, step in zip(a.shape, a.stride(), strict=True))
    return a.dtype == b.dtype and a.stride() == b.stride() and span == a.numel()


class _BiasedLeaky(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, slope: float) -> Tensor:
        kernels().biased_leaky_(x, bias, slope)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        ctx.slope, ctx.dtype = slope, bias.dtype
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (y,) = ctx.saved_tensors
        inside = torch.ops.aten.leaky_relu_backward(gradient, y, ctx.slope, True)
        return inside, _over_positions(inside, ctx.dtype) if _weights_too and ctx.needs_input_grad[1] else None, None


class _Biased(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        kernels().biased_leaky_(x, bias, 1.0)
        ctx.mark_dirty(x)
        ctx.dtype = bias.dtype
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        return gradient, _over_positions(gradient, ctx.dtype) if _weights_too and ctx.needs_input_grad[1] else None


def _over_positions(gradient: Tensor, dtype: torch.dtype) -> Tensor:
    """Sum over all axes but the channels, in fp32."""
    return gradient.sum([axis for axis in range(gradient.ndim) if axis != 1], dtype=torch.float32).to(dtype)


class _Snake(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor, tiny: float) -> Tensor:
        ctx.save_for_backward(x, alpha)
        ctx.tiny = tiny
        return kernels().snake(x, alpha, tiny)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, alpha = ctx.saved_tensors
        gradient = gradient.transpose(1, 2).contiguous().transpose(1, 2)
        at_x, at_alpha = kernels().snake_gradients(gradient, x, alpha, ctx.tiny)
        return at_x, at_alpha.to(alpha.dtype), None


class _L1Means(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, target: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(target, output)
        difference, size = (kernels().l1_sums(target, output) / output.numel()).unbind()
        ctx.mark_non_differentiable(size)
        return difference, size

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[None, Tensor]:
        target, output = ctx.saved_tensors
        return None, kernels().l1_gradient(target, output, gradient.float() / output.numel())
