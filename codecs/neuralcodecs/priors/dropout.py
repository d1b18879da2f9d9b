"""Dropout of a prior while it is trained (https://jmlr.org/papers/v15/srivastava14a.html).

Set from outside, so that a prior's arguments and weights are the same with and without it.
"""

from neuralcodecs.errors import CodecError
from neuralcodecs.priors.learned import LearnedPrior


def drop(model: LearnedPrior, share: float) -> None:
    """From now on, in training only, leave out ``share`` (0 to less than 1) of what embeddings and branches add.

    What stays grows as much. Raises CodecError for another share.
    """
    if not 0 <= share < 1:
        raise CodecError(f"dropout {share}: give a share of 0 to less than 1")
    for module in model.modules():  # those that add something look at it
        vars(module)["dropped"] = share
