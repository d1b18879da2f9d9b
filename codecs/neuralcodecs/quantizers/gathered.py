"""Vectors that a quantizer holds between steps and that are no part of the model: checkpoints hold them apart."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Gathered(nn.Module):
    """A list of tensors of any length, outside ``state_dict``: a model is read without knowing how many there were.

    Whoever saves a run saves ``gathered`` of the whole model beside it; ``regather`` puts it back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Tensor] = []


def gathered(model: nn.Module) -> dict[str, Tensor]:
    """What every ``Gathered`` in a model holds, by the module's name; nothing of those that are empty."""
    return {name: torch.cat(module.parts) for name, module in _all(model).items() if module.parts}


def regather(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Put back what ``gathered`` gave; those that it did not name hold nothing."""
    for name, module in _all(model).items():
        module.parts = [saved[name]] if name in saved else []


def _all(model: nn.Module) -> dict[str, Gathered]:
    return {name: module for name, module in model.named_modules() if isinstance(module, Gathered)}
