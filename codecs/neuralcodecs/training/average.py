"""Exponential moving average of the codec's weights: what is validated, judged and exported."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from torch import Tensor

from neuralcodecs.codec import Codec


class WeightAverage(L.Callback):
    """Averages the codec's parameters after every optimizer step; buffers (codebooks, counters) are taken as they are.

    Validation and evaluation see the averaged codec; training never does. The average is in the checkpoint, and
    ``neuralcodecs export`` and every command prefer it.

    Args:
        decay: share of the old average kept per optimizer step.
    """

    def __init__(self, decay: float = 0.99) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self._step = 0

    @contextmanager
    def applied(self, codec: Codec) -> Iterator[None]:
        """The codec with averaged weights inside the block, with its own again after it."""
        self.swap(codec)
        try:
            yield
        finally:
            self.swap(codec)

    @torch.no_grad()
    def swap(self, codec: Codec) -> None:
        for name, parameter in codec.named_parameters():
            held = self.average[name]
            self.average[name] = parameter.detach().clone()
            parameter.copy_(held)

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        if not self.average:
            self.average = {name: p.detach().clone() for name, p in pl_module.codec.named_parameters()}

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.average = {name: value.to(pl_module.device) for name, value in self.average.items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        parameters = dict(pl_module.codec.named_parameters())
        torch._foreach_lerp_([self.average[n] for n in parameters], list(parameters.values()), 1 - self.decay)

    def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.swap(pl_module.codec)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.swap(pl_module.codec)

    def on_test_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.swap(pl_module.codec)

    def on_test_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.swap(pl_module.codec)

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average, "step": self._step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.average = state_dict["average"]
        self._step = state_dict["step"]
