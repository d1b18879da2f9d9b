"""Convolutions of one axis from or to one or two channels, on a GPU as products of matrices.

cuDNN has no fast kernels for them: on an H200, in a step of DAC on 72 x 0.38 s in bf16, the gradients of its first and
last convolutions took 37 of 221 ms, and with channels side by side their forwards 1,030.
"""

from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.layers.precision import full_precision


def convolve(
    x: Float[Tensor, "b c t"],
    weight: Float[Tensor, "d c k"],
    bias: Float[Tensor, " d"] | None,
    dilation: int,
    rows: bool,
) -> Float[Tensor, "b d n"]:
    """``F.conv1d`` without padding. ``rows``: what is made of few channels has them side by side in memory.

    Under autocast, what goes to few channels, a waveform, is left in fp32: of 8 bits it would have noise at -50 dB.
    """
    length = x.shape[-1] - dilation * (weight.shape[-1] - 1)
    few = x.shape[1] <= weight.shape[0]
    y = _widened(x, weight, length, dilation, rows) if few else _summed(x, weight, length, dilation)
    return y if bias is None else y + bias.to(y.dtype)[:, None]


def _widened(x: Tensor, weight: Tensor, length: int, dilation: int, rows: bool) -> Tensor:
    """The samples under each tap are a channel."""
    starts = range(0, dilation * weight.shape[-1], dilation)
    if rows:
        taps = torch.stack([x[..., i : i + length] for i in starts], dim=-1)  # b c n k
        taps = taps.transpose(1, 2).flatten(2)
        return torch.bmm(taps, weight.flatten(1).T.expand(len(x), -1, -1)).transpose(1, 2)
    taps = torch.stack([x[..., i : i + length] for i in starts], dim=2).flatten(1, 2)
    return torch.bmm(weight.flatten(1).expand(len(x), -1, -1), taps)


def _summed(x: Tensor, weight: Tensor, length: int, dilation: int) -> Tensor:
    """Each tap gives channels in fp32; they are shifted and added."""
    kept = torch.is_autocast_enabled(x.device.type)
    each = weight.permute(2, 0, 1).flatten(0, 1)  # k d, c
    if x.is_cuda and x.dtype in (torch.bfloat16, torch.float16) and not (kept or torch.is_grad_enabled()):
        # this product is not differentiable, and reads half of what the other does
        products = torch.mm(x.transpose(1, 2).flatten(0, 1), each.to(x.dtype).T, out_dtype=torch.float32)
        taps = products.unflatten(0, (len(x), -1)).transpose(1, 2)
    else:
        with full_precision(x) if kept else nullcontext():  # compilers cannot look into the first
            taps = torch.bmm(each.float().expand(len(x), -1, -1), x.float())
    by_tap = taps.unflatten(1, (weight.shape[-1], -1))
    y = torch.stack([by_tap[:, i, :, i * dilation : i * dilation + length] for i in range(by_tap.shape[1])]).sum(0)
    return y if kept else y.to(x.dtype)
