"""Chains of pointwise operations as one pass over memory where ``layers.paths`` asks for it; else as torch has them.

Feature maps of discriminators are gigabytes per step: what is done to each value costs what reading and writing it
does.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.layers.paths import asked

LARGEST = 2**31 - 2**24  # offsets of the kernels are 32 bits
LEAST = 1e-8
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
    x: Float[Tensor, "b c n f"], bias: Float[Tensor, " c"], slope: float, kept: int
) -> Float[Tensor, "b c n f"]:
    """``leaky_relu(x + bias)`` in the first ``kept`` positions of the last axis, 0 behind them.

    It is computed in place of ``x``, which nothing else may need, and has no gradient behind them, whatever comes back.
    """
    return _BiasedLeaky.apply(x, bias, slope, kept)


def cut(x: Float[Tensor, "b c n f"], kept: int) -> Float[Tensor, "b c n kept"]:
    """The first ``kept`` positions of the last axis. What its gradient has behind them is anything."""
    return x if kept == x.shape[-1] else _Cut.apply(x, kept)


def biased(x: Float[Tensor, "b c *space"], bias: Float[Tensor, " c"]) -> Float[Tensor, "b c *space"]:
    """``x + bias``, computed in place of ``x``, which nothing else may need."""
    if _one_pass(x) and (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)):
        return _Biased.apply(x, bias)
    return x.add_(bias.to(x.dtype).view(-1, *(1,) * (x.ndim - 2)))


def snake(x: Float[Tensor, "b c *space"], alpha: Float[Tensor, " c"], tiny: float) -> Float[Tensor, "b c *space"]:
    """``x + sin(alpha x)^2 / (alpha + tiny)``.

    In one pass it is of the precision of ``x``: between two convolutions under autocast torch's operations would go
    through fp32 and be rounded by the next. What is kept for the gradient is ``x`` alone, not four arrays of its size.
    """
    if _one_pass(x) and x.ndim == 3:
        return _Snake.apply(_in_order(x, x), alpha, tiny)
    column = alpha.view(-1, *(1,) * (x.ndim - 2))
    if torch.compiler.is_compiling() and x.dtype != torch.float64:
        return (x + squared_sine(column.float() * x.float()) / (column.float() + tiny)).to(x.dtype)
    return x + (column + tiny).reciprocal() * torch.sin(column * x).square()


def squared_sine(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """``sin(x)^2`` for compilers, to 4e-7 below 2e4 in magnitude: Taylor to x^11 around the nearest zero.

    In a kernel of a chain of operations torch's own sine, exact for all numbers, takes more time than memory does.
    """
    turns = torch.floor(x * (1 / math.pi) + 0.5)
    rest = (x - turns * 3.140625) - turns * 9.67653589793e-4
    square = rest * rest
    series = torch.full_like(square, -2.505210838544172e-8)
    for term in (2.755731922398589e-6, -1.984126984126984e-4, 8.333333333333333e-3, -0.16666666666666666, 1.0):
        series = series * square + term
    return square * series * series


def l1_distance(target: Float[Tensor, "*shape"], output: Float[Tensor, "*shape"], relative: bool) -> Float[Tensor, ""]:
    """Mean of ``|target - output|``, by that of ``|target|`` if relative; its gradient is that of the output."""
    target = target.detach()
    if _one_pass(output) and output.numel() and target.dtype == output.dtype and (rows := _rows(target, output)):
        difference, size = _L1Means.apply(target, output, rows)
        return difference / size.clamp_min(LEAST) if relative else difference
    distance = (target - output).abs().mean()
    return distance / target.abs().mean().clamp_min(LEAST) if relative else distance


def _one_pass(x: Tensor) -> bool:
    return asked("fused", x) and x.numel() < LARGEST and kernels() is not None


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


class Rows(NamedTuple):
    """How a tensor lies in memory: ``number`` rows of ``length`` elements, of which the first ``kept`` are its own."""

    number: int
    length: int
    kept: int


def _rows(a: Tensor, b: Tensor) -> Rows | None:
    """Of both, where they have equal strides and at most one axis with a gap between its positions."""
    if a.stride() != b.stride():
        return None
    axes = sorted((step, size) for size, step in zip(a.shape, a.stride(), strict=True) if size > 1)
    filled, length = 1, 0
    for step, size in axes:
        if step != filled:
            if length or step < filled:
                return None
            length, kept = step, filled
            filled = step
        filled *= size
    if filled >= LARGEST:
        return None
    return Rows(filled // length, length, kept) if length else Rows(1, filled, filled)


class _BiasedLeaky(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, slope: float, kept: int) -> Tensor:
        ctx.one_pass = _one_pass(x) and x.is_contiguous(memory_format=torch.channels_last)
        y = x.detach()  # not marked as changed: of a view, autograd would copy the whole that it is part of
        if ctx.one_pass:
            kernels().biased_leaky_(y, bias, slope, kept)
        else:
            F.leaky_relu_(y.add_(bias.to(y.dtype).view(-1, 1, 1)), slope)
            y[..., kept:].zero_()
        ctx.save_for_backward(y)
        ctx.slope, ctx.kept, ctx.dtype = slope, kept, bias.dtype
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        (y,) = ctx.saved_tensors
        wanted = _weights_too and ctx.needs_input_grad[1]
        if ctx.one_pass:
            gradient = gradient.contiguous(memory_format=torch.channels_last)
            inside, at_bias = kernels().leaky_gradients(gradient, y, ctx.slope, ctx.kept, wanted)
            return inside, at_bias.to(ctx.dtype) if wanted else None, None, None
        inside = torch.ops.aten.leaky_relu_backward(gradient, y, ctx.slope, True)
        inside[..., ctx.kept :].zero_()
        return inside, _over_positions(inside, ctx.dtype) if wanted else None, None, None


class _Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: int) -> Tensor:
        ctx.shape, ctx.strides, ctx.kept = x.shape, x.stride(), kept
        return x[..., :kept]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        whole = math.prod(ctx.shape)
        room = gradient.untyped_storage().nbytes() // gradient.element_size() - gradient.storage_offset()
        if gradient.stride() == ctx.strides and room >= whole:  # it lies in memory of the whole
            return gradient.as_strided(ctx.shape, ctx.strides), None
        return F.pad(gradient, (0, ctx.shape[-1] - ctx.kept)), None


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


def _in_order(x: Float[Tensor, "b c t"], like: Float[Tensor, "b c t"]) -> Float[Tensor, "b c t"]:
    """``x`` without gaps in memory, as rows where ``like`` is."""
    rows = like.stride(1) == 1 < like.shape[1]
    return x.transpose(1, 2).contiguous().transpose(1, 2) if rows else x.contiguous()


class _Snake(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor, tiny: float) -> Tensor:
        ctx.save_for_backward(x, alpha)
        ctx.tiny = tiny
        return kernels().snake(x, alpha, tiny)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, alpha = ctx.saved_tensors
        at_x, at_alpha = kernels().snake_gradients(_in_order(gradient, x), x, alpha, ctx.tiny)
        return at_x, at_alpha.to(alpha.dtype), None


class _L1Means(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, target: Tensor, output: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(target, output)
        ctx.rows = rows
        difference, size = (kernels().l1_sums(target, output, *rows) / output.numel()).unbind()
        ctx.mark_non_differentiable(size)
        return difference, size

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[None, Tensor, None]:
        target, output = ctx.saved_tensors
        return None, kernels().l1_gradient(target, output, gradient.float() / output.numel(), *ctx.rows), None
