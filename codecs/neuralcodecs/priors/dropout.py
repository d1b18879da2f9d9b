"""Dropout of a prior's branches while it is trained (https://jmlr.org/papers/v15/srivastava14a.html).

Attached from outside, so that a prior's arguments and weights are the same with and without it.
"""

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.errors import CodecError
from neuralcodecs.priors.blocks import Block, Embeddings


def drop(model: nn.Module, share: float) -> None:
    """From now on, in training only, set ``share`` (0 to 1) of what embeddings and branches add to 0.

    The others grow as much. Raises CodecError for another share.
    """
    if not 0 <= share < 1:
        raise CodecError(f"dropout {share}: give a share of 0 to less than 1")
    if share == 0:
        return
    hook = partial(_drop, share)
    for module in model.modules():
        match module:
            case Block():
                module.out.register_forward_hook(hook)
                module.fall.register_forward_hook(hook)
            case Embeddings():
                module.register_forward_hook(hook)


def _drop(share: float, module: nn.Module, _: object, output: Tensor) -> Tensor:
    return F.dropout(output, share, module.training)
