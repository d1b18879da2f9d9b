"""The export of a trained prior, after a fine-tuning that knows of rounding where it costs too much without."""

import copy
import itertools
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int64
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from neuralcodecs.evaluation.prior_rates import Coded, exported_bits
from neuralcodecs.priors.integer import Sealed
from neuralcodecs.priors.learned import LIMIT, Exported, LearnedPrior, check_loss
from neuralcodecs.priors.rounding import fine_tune


def exported_within(
    model: LearnedPrior, training: Sequence[Coded], coded: Sequence[Coded], steps: int, most_loss: float = LIMIT
) -> Sealed:
    """What ``model`` exports, or a copy of it after ``steps`` on the ``training`` codes, if rounding costs too much.

    Both are measured on ``coded``, against the float network as it was given, and told. Raises CodecError where even
    the better one costs more than ``most_loss`` of the bits.
    """
    plain = exported_bits(model, model.export(), coded)
    rank_zero_info(f"exact integers cost {plain.loss:.4%} of the bits")
    if plain.loss <= most_loss or not steps:
        check_loss(plain, most_loss)
        return plain.prior
    tuned = copy.deepcopy(model)
    fine_tune(tuned, pieces(training), steps)
    again = exported_bits(tuned, tuned.export(), coded)
    better = Exported(again.prior, plain.float_bits, min(again.integer_bits, plain.integer_bits))
    rank_zero_info(f"after {steps} steps that know of the rounding: {again.integer_bits / plain.float_bits - 1:.4%}")
    check_loss(better, most_loss)
    return better.prior


def pieces(coded: Sequence[Coded]) -> Iterator[Int64[Tensor, "1 q *grid"]]:
    """Pieces of files in an order that is always the same, for ever, with 1 to all levels in turn."""
    generator = torch.Generator().manual_seed(0)
    whole = [piece for file in coded for piece in file.pieces()]
    for number in itertools.count():
        piece = whole[int(torch.randint(len(whole), (), generator=generator))]
        yield piece[:, : piece.shape[1] - number % piece.shape[1]]
