"""Fine levels that were never sent, predicted from the coarse ones (LMCodec, https://arxiv.org/abs/2303.12984).

Any autoregressive prior is a predictor: where a decoder would read a code it draws one. Tables and draws are integers,
so that the same seed gives the same codes on every machine.
"""

from itertools import accumulate

import torch
from jaxtyping import Int64
from torch import Tensor

from neuralcodecs.errors import CodecError
from neuralcodecs.priors.prior import PRECISION, TokenPrior
from neuralcodecs.quantizers.draws import bits
from neuralcodecs.token_coder import lane_lengths, side_by_side


def fill_lanes(
    prior: TokenPrior, codes: Int64[Tensor, "k n"], levels: int, seed: int | None = None
) -> Int64[Tensor, "levels n"]:
    """``fill`` for one stream, cut into the lanes that files are coded in: many positions in one step. On the CPU."""
    lengths = lane_lengths(codes.shape[1])
    lanes = side_by_side(codes.to(prior.device), lengths)
    found = fill(prior, lanes, levels, seed, lanes.new_tensor([0, *accumulate(lengths[:-1])])).cpu()
    return torch.cat([lane[:, :length] for lane, length in zip(found, lengths, strict=True)], 1)


def fill(
    prior: TokenPrior,
    codes: Int64[Tensor, "b k n"],
    levels: int,
    seed: int | None = None,
    firsts: Int64[Tensor, " b"] | None = None,
) -> Int64[Tensor, "b levels n"]:
    """All of the first ``levels`` codebooks, of which ``codes`` are the first k.

    ``seed``: of the draws, from 0 to 2**32 - 1; None takes the likeliest code instead. ``firsts``: where each item
    begins in its stream, since draws depend on the position there; 0 without.
    Raises CodecError where the prior has no such levels, and for codes outside its alphabet.
    """
    batch, coarse, positions = codes.shape
    prior.check(codes, None)
    prior.check_levels(levels)
    if coarse > levels or (seed is not None and not 0 <= seed < 2**32):
        raise CodecError(f"{coarse} levels to be filled to {levels} with seed {seed}: fewer levels, 0 to 2**32 - 1")
    found = codes.new_zeros(batch, levels, positions)
    found[:, :coarse] = codes
    if not positions or coarse == levels:
        return found
    origins = codes.new_zeros(batch) if firsts is None else firsts
    group = prior.parallel(levels)
    tables, state = prior.start(batch, levels)
    symbols = codes  # of the step before, from the second on
    for step in range(positions * levels // group):
        position, first = divmod(step * group, levels)
        if step:
            tables, state = prior.step(state, symbols)
        fresh = slice(max(first, coarse), first + group)  # of what the tables are of, the levels that were not sent
        own = tables[:, fresh.start - first :]
        places = (origins[:, None] + position) * levels + fresh.start + torch.arange(own.shape[1], device=codes.device)
        found[:, fresh, position] = _likeliest(own) if seed is None else _drawn(own, seed, places)
        symbols = found[:, first : first + group, position]
    return found


def _likeliest(tables: Int64[Tensor, "b k v"]) -> Int64[Tensor, "b k"]:
    return tables.diff(dim=-1).argmax(-1)


def _drawn(tables: Int64[Tensor, "b k v"], seed: int, places: Int64[Tensor, "b k"]) -> Int64[Tensor, "b k"]:
    """The symbol whose interval holds a number that depends on seed and place alone."""
    number = bits(places.flatten(), places.new_tensor(seed)).view(places.shape) >> (32 - PRECISION)
    return (tables <= number.unsqueeze(-1)).sum(-1) - 1
