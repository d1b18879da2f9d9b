"""A prior run as a decoder runs it."""

import torch
from torch import Tensor

from neuralcodecs.priors.prior import TokenPrior


def stepped(prior: TokenPrior, codes: Tensor, cond: Tensor | None = None) -> Tensor:
    """Tables ``(b, n, q, v)`` of codes ``(b, q, n)``, one step after the other."""
    lanes, levels, positions = codes.shape
    group = prior.parallel(levels)
    sequence = codes.transpose(1, 2).flatten(1)
    tables, state = prior.start(lanes, levels, cond)
    found = [tables]
    for first in range(0, positions * levels - group, group):
        tables, state = prior.step(state, sequence[:, first : first + group])
        found.append(tables)
    return torch.cat(found, 1).unflatten(1, (positions, levels))
