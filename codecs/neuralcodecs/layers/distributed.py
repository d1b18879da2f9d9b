"""What several processes that train together need: the few collectives of statistics, which do nothing without a
process group, and gradients of what is not in use.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn


def rank_and_world() -> tuple[int, int]:
    """This process's rank and the number of processes: ``(0, 1)`` without a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def sum_over_ranks(tensors: Sequence[Tensor]) -> None:
    """Sum each tensor over all ranks, in place, by one collective. All of one dtype and device."""
    if rank_and_world()[1] == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    _unpack(flat, tensors)


def copy_from_first_rank(tensors: Sequence[Tensor]) -> None:
    """Overwrite each tensor by that of rank 0, by one collective. All of one dtype and device."""
    if rank_and_world()[1] == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.broadcast(flat, src=0)
    _unpack(flat, tensors)


def idle(parts: Iterable[nn.Module]) -> Float[Tensor, ""] | float:
    """A zero in which all parameters of parts that a batch does not use take part, each with a gradient of zeros.

    DDP waits for a gradient of every parameter in every backward, and some would have none. Without a backward of it,
    it costs next to nothing.
    """
    parameters = [p for part in parts for p in part.parameters()]
    return _Idle.apply(*parameters) if parameters else 0.0


class _Idle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *parameters: Tensor) -> Tensor:
        ctx.parameters = parameters
        return parameters[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pairs = zip(ctx.parameters, ctx.needs_input_grad, strict=True)
        return tuple(torch.zeros_like(p) if needed else None for p, needed in pairs)


def _unpack(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
