"""Random choices that are functions of counters: the same on every rank and device, and after a resume.

No generator is kept and the global ones are never touched. The mixer is lowbias32 by C. Wellons,
https://nullprogram.com/blog/2018/07/31/, evaluated in int64 because torch has no unsigned arithmetic on CUDA.
"""

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

_MASK = 0xFFFFFFFF


def _mix(state: Int64[Tensor, "*n"]) -> Int64[Tensor, "*n"]:
    state = ((state ^ (state >> 16)) * 0x7FEB352D) & _MASK
    state = ((state ^ (state >> 15)) * 0x846CA68B) & _MASK
    return state ^ (state >> 16)


def bits(places: Int64[Tensor, " n"], *counters: Int64[Tensor, ""]) -> Int64[Tensor, " n"]:
    """32 random bits per place, in [0, 2^32)."""
    key = torch.zeros_like(places[:1])
    for counter in counters:
        key = _mix((key + counter + 0x9E3779B9) & _MASK)
    return _mix(_mix(places & _MASK) ^ key)


def uniform(count: int, *counters: Int64[Tensor, ""]) -> Float32[Tensor, " n"]:
    """``count`` numbers strictly between 0 and 1."""
    places = torch.arange(count, device=counters[0].device)
    return ((bits(places, *counters) >> 9).float() + 0.5) * 2.0**-23  # 24 bits: exact in fp32, never 1


def strata(
    rows: int, slots: int, rank: int, world: int, *counters: Int64[Tensor, ""]
) -> tuple[Int64[Tensor, " m"], Int64[Tensor, " m"]]:
    """Which of this rank's ``rows`` go to which of the ``slots`` that all ranks share: indices of both, distinct.

    With more rows than slots, each slot takes one row of its stratum; with fewer, each row takes one slot of its own.
    A rank fills the block of slots that is its share, so that w ranks with n rows each fill the slots exactly as one
    rank with the same n x w rows would (where w divides the slots), and a sum over ranks joins them.
    """
    first, end = slots * rank // world, slots * (rank + 1) // world
    fewer, more = sorted((rows, end - first))
    places = torch.arange(fewer, device=counters[0].device)
    shift = first if rows >= end - first else rank * rows
    inside = bits(places + shift, *counters) >> 16
    # strata from whole index to whole index: with fractional bounds two neighbours could draw the same one
    lower, upper = (bound * more // max(fewer, 1) for bound in (places, places + 1))
    drawn = lower + (inside * (upper - lower) >> 16)
    return (places + first, drawn) if rows >= end - first else (drawn + first, places)


def weighted_order(weights: Float32[Tensor, "*q n"], noise: Float32[Tensor, "*q n"]) -> Int64[Tensor, "*q n"]:
    """An order in which each next index is drawn in proportion to its weight; those of weight 0 come last.

    Sampling without replacement by sorted keys ``log(u) / w`` (Efraimidis and Spirakis 2006).
    """
    scaled = weights / weights.amax(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return (noise.log() / scaled).argsort(dim=-1, descending=True, stable=True)
