"""Convolutions that give the same bits on every machine: integer networks (https://openreview.net/forum?id=S1zz2i0cY7).

Values lie on a grid of 1/64 between -255/64 and 255/64. In training the layer is an ordinary convolution. In evaluation
its weights are rounded, row by row, to the finest power of two with which every sum of products is an integer below
2**24, so float32 holds it exactly in any order of addition. The rounding is a function of the weights alone, made of
exact operations: nothing has to be exported.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

GRID = 64
"""Steps in one unit of an activation."""
LARGEST = 255
"""Largest magnitude of an activation in steps."""
LIMIT = 255 / 64
_FINEST = 20
_LARGEST_WEIGHT = 2047
_LARGEST_SUM = 0.98 * 2**24


@contextmanager
def exact() -> Iterator[None]:
    """Without what would round products of integers: autocast, TF32, bfloat16 kernels. No gradients."""
    # each back end by itself: torch's getter for all of them raises where a user has set one of them
    back_ends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = [back_end.fp32_precision for back_end in back_ends]
    for back_end in back_ends:
        back_end.fp32_precision = "ieee"
    try:
        with torch.no_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            yield
    finally:
        for back_end, precision in zip(back_ends, before, strict=True):
            back_end.fp32_precision = precision


class Rounded(torch.autograd.Function):
    """To the nearest multiple of ``1 / steps`` within bounds; the gradient passes unless it leads further outside."""

    @staticmethod
    def forward(ctx, x: Tensor, steps: float, low: float, high: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        ctx.bounds = low, high
        return (torch.floor(x * steps + 0.5) / steps).clamp(low, high)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        low, high = ctx.bounds
        outwards = ((x < low) & (gradient > 0)) | ((x > high) & (gradient < 0))
        return gradient.masked_fill(outwards, 0.0), None, None, None


def rounded(x: Tensor, steps: float, low: float, high: float) -> Tensor:
    """See ``Rounded``."""
    return Rounded.apply(x, steps, low, high)


def activation(x: Tensor, low: float = 0.0) -> Tensor:
    """A ReLU onto the grid; with ``low=-LIMIT`` only the grid and its bounds."""
    return rounded(x, float(GRID), low, LIMIT)


class ExactConv(nn.Module):
    """A convolution of pictures whose output has ``ceil(n / stride)`` positions per axis, exact in evaluation.

    Args:
        channels: of the input.
        dim: of the output.
        kernel: odd.
        steps: grid of the output: its values are multiples of 1 / steps, a power of two.
    """

    def __init__(self, channels: int, dim: int, kernel: int = 3, steps: int = GRID) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, dim, kernel, padding=kernel // 2)
        self.steps = steps
        self._key: tuple[object, ...] = ()
        self._integers: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Not yet rounded in training; multiples of 1 / steps in evaluation, where x must be on the grid."""
        if self.training:
            return self.conv(x)
        weight, bias, scale = self._rounded_weights(x)
        kernel = self.conv.kernel_size[0]
        # no convolution: Winograd and Fourier kernels multiply integers by fractions
        columns = F.unfold(x * GRID, kernel, padding=kernel // 2)
        sums = torch.matmul(weight, columns) + bias
        return (torch.floor(sums * scale + 0.5) / self.steps).unflatten(-1, x.shape[2:])

    def _rounded_weights(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, bias = self.conv.weight, self.conv.bias
        assert bias is not None
        key = (weight._version, bias._version, weight.data_ptr(), x.device, x.dtype)
        if self._integers is None or key != self._key:
            self._key = key
            self._integers = tuple(t.to(x) for t in integers(weight, bias, self.steps))  # type: ignore[assignment]
        assert self._integers is not None
        return self._integers


@torch.no_grad()
def integers(weight: Tensor, bias: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Integer weights ``(rows, columns)``, biases and scales ``(rows, 1)``, float64, from what float weights are."""
    rows = weight.detach().cpu().double().flatten(1)
    offset = bias.detach().cpu().double()[:, None]
    # sums of integers, so that no order of addition can change what is chosen
    fine, fine_offset = (torch.floor(v * 2.0**_FINEST + 0.5).abs() for v in (rows, offset))
    free = _LARGEST_SUM - LARGEST * (rows.shape[1] / 2 + 1)
    need = torch.maximum(
        fine.amax(1, keepdim=True) / _LARGEST_WEIGHT, (LARGEST * fine.sum(1, keepdim=True) + GRID * fine_offset) / free
    )
    shift = (_FINEST - torch.frexp(need.clamp(min=2.0**-30)).exponent).clamp(max=_FINEST).double()
    power = torch.pow(2.0, shift)
    scale = steps / (GRID * power)
    return torch.floor(rows * power + 0.5), torch.floor(offset * power * GRID + 0.5), scale
