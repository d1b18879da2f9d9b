"""Triton kernels behind ``layers.fused``; imported only where there is a CUDA device and Triton."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 4096


@triton.jit  # type: ignore[untyped-decorator]
def _biased_leaky(x: Any, bias: Any, n: Any, channels: Any, slope: Any, BLOCK: tl.constexpr) -> None:
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    value = tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + offsets % channels, mask=inside, other=0.0).to(tl.float32)
    tl.store(x + offsets, tl.where(value > 0, value, value * slope), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _l1_sums(a: Any, b: Any, sums: Any, n: Any, programs: Any, BLOCK: tl.constexpr) -> None:
    program = tl.program_id(0)
    offsets = program * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    first = tl.load(a + offsets, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(b + offsets, mask=inside, other=0.0).to(tl.float32)
    tl.store(sums + program, tl.sum(tl.abs(first - second), axis=0))
    tl.store(sums + programs + program, tl.sum(tl.abs(first), axis=0))


@triton.jit  # type: ignore[untyped-decorator]
def _l1_gradient(a: Any, b: Any, scale: Any, out: Any, n: Any, BLOCK: tl.constexpr) -> None:
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    first = tl.load(a + offsets, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(b + offsets, mask=inside, other=0.0).to(tl.float32)
    step = tl.load(scale)
    sign = tl.where(second > first, step, tl.where(second < first, -step, 0.0))
    tl.store(out + offsets, sign, mask=inside)


def biased_leaky_(x: Tensor, bias: Tensor, slope: float) -> None:
    """``leaky_relu(x + bias)`` in place; channels are what changes fastest in memory."""
    n = x.numel()
    if n:
        _biased_leaky[(triton.cdiv(n, BLOCK),)](x, bias, n, len(bias), slope, BLOCK=BLOCK)


def l1_sums(a: Tensor, b: Tensor) -> Tensor:
    """Sums of ``|a - b|`` and of ``|a|`` in fp32, for tensors that fill the same memory in the same order."""
    programs = triton.cdiv(a.numel(), BLOCK)
    sums = torch.empty(2, programs, device=a.device)
    _l1_sums[(programs,)](a, b, sums, a.numel(), programs, BLOCK=BLOCK)
    return sums.sum(1)


def l1_gradient(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    """``scale * sign(b - a)`` like ``b``; ``scale`` is a scalar on the device."""
    out, n = torch.empty_like(b), a.numel()
    if n:
        _l1_gradient[(triton.cdiv(n, BLOCK),)](a, b, scale, out, n, BLOCK=BLOCK)
    return out
