"""Triton kernels behind ``layers.fused``; imported only where there is a CUDA device and Triton."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 4096


def _kernel(function: Callable[..., None]) -> Any:
    """A kernel. Its annotations are strings: Triton evaluates others, and knows no ``Any``.

    It looks names up where a function is defined, and runtime type checkers (our tests') define another.
    """
    return triton.jit(inspect.unwrap(function))


@_kernel
def _biased_leaky(
    x: "Any",
    bias: "Any",
    n: "Any",
    channels: "Any",
    step: "Any",
    slope: "Any",
    bins: "Any",
    kept: "Any",
    BLOCK: tl.constexpr,
) -> None:
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    value = tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + offsets // step % channels, mask=inside, other=0.0).to(tl.float32)
    value = tl.where(value > 0, value, value * slope)
    tl.store(x + offsets, tl.where((offsets // channels) % bins < kept, value, 0.0), mask=inside)


@_kernel
def _leaky_gradients(
    gradient: "Any",
    y: "Any",
    at_x: "Any",
    at_bias: "Any",
    rows: "Any",
    channels: "Any",
    slope: "Any",
    bins: "Any",
    kept: "Any",
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    SUMS: tl.constexpr,
) -> None:
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = (row[:, None] < rows) & (channel[None, :] < channels)
    offsets = row[:, None] * channels + channel[None, :]
    known = inside & (row[:, None] % bins < kept)
    upstream = tl.load(gradient + offsets, mask=known, other=0.0).to(tl.float32)
    value = tl.load(y + offsets, mask=known, other=0.0).to(tl.float32)
    through = tl.where(value > 0, upstream, upstream * slope)
    tl.store(at_x + offsets, through, mask=inside)
    if SUMS:
        tl.store(at_bias + tl.program_id(0) * channels + channel, tl.sum(through, axis=0), mask=channel < channels)


@_kernel
def _l1_sums(
    a: "Any", b: "Any", sums: "Any", n: "Any", length: "Any", kept: "Any", programs: "Any", BLOCK: tl.constexpr
) -> None:
    program = tl.program_id(0)
    offsets = program * BLOCK + tl.arange(0, BLOCK)
    inside = (offsets < n) & (offsets % length < kept)
    first = tl.load(a + offsets, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(b + offsets, mask=inside, other=0.0).to(tl.float32)
    tl.store(sums + program, tl.sum(tl.abs(first - second), axis=0))
    tl.store(sums + programs + program, tl.sum(tl.abs(first), axis=0))


@_kernel
def _l1_gradient(
    a: "Any", b: "Any", scale: "Any", out: "Any", n: "Any", length: "Any", kept: "Any", BLOCK: tl.constexpr
) -> None:
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = (offsets < n) & (offsets % length < kept)
    first = tl.load(a + offsets, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(b + offsets, mask=inside, other=0.0).to(tl.float32)
    step = tl.load(scale)
    sign = tl.where(second > first, step, tl.where(second < first, -step, 0.0))
    tl.store(out + offsets, sign, mask=inside)


@_kernel
def _sine(x: "Any") -> "Any":
    """To 2e-7 for what is below 2e4 in magnitude, in a third of the instructions of the exact one: Taylor to x^11."""
    turns = tl.floor(x * 0.3183098861837907 + 0.5)
    r = (x - turns * 3.140625) - turns * 9.67653589793e-4
    odd = turns - 2.0 * tl.floor(turns * 0.5)
    square = r * r
    series = -2.505210838544172e-8 * square + 2.755731922398589e-6
    series = series * square - 1.984126984126984e-4
    series = series * square + 8.333333333333333e-3
    series = series * square - 0.16666666666666666
    return (1.0 - 2.0 * odd) * (r + r * square * series)


@_kernel
def _snake(
    x: "Any", alpha: "Any", out: "Any", n: "Any", channels: "Any", step: "Any", tiny: "Any", BLOCK: tl.constexpr
) -> None:
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    value = tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)
    frequency = tl.load(alpha + offsets // step % channels, mask=inside, other=1.0).to(tl.float32)
    wave = _sine(frequency * value)
    tl.store(out + offsets, value + wave * wave / (frequency + tiny), mask=inside)


@_kernel
def _snake_gradients(
    gradient: "Any",
    x: "Any",
    alpha: "Any",
    at_x: "Any",
    at_alpha: "Any",
    rows: "Any",
    channels: "Any",
    length: "Any",
    along: "Any",
    across: "Any",
    tiny: "Any",
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
) -> None:
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = (row[:, None] < rows) & (channel[None, :] < channels)
    starts = row // length * length * channels + row % length * along
    offsets = starts[:, None] + channel[None, :] * across
    value = tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)
    upstream = tl.load(gradient + offsets, mask=inside, other=0.0).to(tl.float32)
    frequency = tl.load(alpha + channel, mask=channel < channels, other=1.0).to(tl.float32)[None, :]
    inverse = 1.0 / (frequency + tiny)
    wave = _sine(frequency * value)
    double = 2.0 * wave * _sine(frequency * value + 1.5707963267948966)
    tl.store(at_x + offsets, upstream * (1.0 + double * frequency * inverse), mask=inside)
    parts = upstream * (double * value - wave * wave * inverse) * inverse
    tl.store(at_alpha + tl.program_id(0) * channels + channel, tl.sum(parts, axis=0), mask=channel < channels)


def biased_leaky_(x: Tensor, bias: Tensor, slope: float, kept: int | None = None) -> None:
    """``leaky_relu(x + bias)`` in place of ``x`` ``(b, c, *space)``, which fills its memory, channels first or last.

    Behind the first ``kept`` positions of the last axis is 0; channels are last then.
    """
    n, bins = x.numel(), x.shape[-1]
    if n:
        grid = (triton.cdiv(n, BLOCK),)
        kept = bins if kept is None else kept
        _biased_leaky[grid](x, bias, n, len(bias), x.stride(1), slope, bins, kept, BLOCK=BLOCK)


def _tiles(rows: int, channels: int, widest: int, values: int) -> tuple[tuple[int, int], dict[str, int]]:
    """The grid of a kernel that sums over rows, and its tile of so many values, at most so many channels wide."""
    width = min(widest, triton.next_power_of_2(channels))
    height = values // width
    return (triton.cdiv(rows, height), triton.cdiv(channels, width)), {"ROWS": height, "WIDTH": width}


def leaky_gradients(gradient: Tensor, y: Tensor, slope: float, kept: int, sums: bool) -> tuple[Tensor, Tensor | None]:
    """Gradients at the input of ``biased_leaky_`` that gave ``y`` and, if asked for, at its bias (fp32).

    ``gradient`` lies in memory as ``y`` does; behind the first ``kept`` positions of the last axis it is not read.
    """
    channels, at_x = y.shape[1], torch.empty_like(y)
    rows = y.numel() // channels
    grid, tile = _tiles(rows, channels, 64, BLOCK)
    at_bias = torch.zeros(grid[0], channels, device=y.device) if sums else None
    if rows:
        _leaky_gradients[grid](gradient, y, at_x, at_bias, rows, channels, slope, y.shape[-1], kept, **tile, SUMS=sums)
    return at_x, None if at_bias is None else at_bias.sum(0)


def l1_sums(a: Tensor, b: Tensor, count: int, length: int, kept: int) -> Tensor:
    """Sums of ``|a - b|`` and of ``|a|`` in fp32, for tensors that lie in memory in the same way.

    That is ``count`` rows of ``length`` elements, of which the first ``kept`` are theirs.
    """
    n = count * length
    programs = triton.cdiv(n, BLOCK)
    sums = torch.empty(2, programs, device=a.device)
    _l1_sums[(programs,)](a, b, sums, n, length, kept, programs, BLOCK=BLOCK)
    return sums.sum(1)


def l1_gradient(a: Tensor, b: Tensor, scale: Tensor, count: int, length: int, kept: int) -> Tensor:
    """``scale * sign(b - a)`` in memory of the same kind as that of ``b``; ``scale`` is a scalar on the device.

    What is not its own of a row holds anything.
    """
    n = count * length
    memory = b.new_empty(n)
    if n:
        _l1_gradient[(triton.cdiv(n, BLOCK),)](a, b, scale, memory, n, length, kept, BLOCK=BLOCK)
    return memory.as_strided(b.shape, b.stride())


def snake(x: Tensor, alpha: Tensor, tiny: float) -> Tensor:
    """``x + sin(alpha x)^2 / (alpha + tiny)`` like ``x``: ``(b, c, t)`` without gaps, in that order or as rows."""
    out, n = torch.empty_like(x), x.numel()
    if n:
        _snake[(triton.cdiv(n, BLOCK),)](x, alpha, out, n, len(alpha), x.stride(1), tiny, BLOCK=BLOCK)
    return out


def snake_gradients(gradient: Tensor, x: Tensor, alpha: Tensor, tiny: float) -> tuple[Tensor, Tensor]:
    """Gradients at ``x`` and at ``alpha`` (fp32); ``gradient`` lies in memory as ``x`` does."""
    channels, at_x = len(alpha), torch.empty_like(x)
    rows = x.numel() // channels
    # along what lies side by side in memory; few values a thread, or their registers leave room for few threads
    grid, tile = _tiles(rows, channels, 64 if x.stride(1) == 1 else 4, BLOCK // 4)
    at_alpha = torch.zeros(grid[0], channels, device=x.device)
    if rows:
        places = (rows, channels, x.shape[-1], x.stride(2), x.stride(1))
        _snake_gradients[grid](gradient, x, alpha, at_x, at_alpha, *places, tiny, **tile)
    return at_x, at_alpha.sum(0)
