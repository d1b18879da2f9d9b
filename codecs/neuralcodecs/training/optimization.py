"""How any task steps: one optimizer with a group per player, non-finite steps skipped, the data's place kept.

Automatic optimization, so that accumulation, AMP, DDP and checkpoints work as Lightning documents them.
"""

from abc import ABC, abstractmethod
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim import Optimizer

from neuralcodecs.training.data import Batch
from neuralcodecs.training.guard import Guard


class OptimizerGroup:
    """Settings of one player's parameter group; None takes the optimizer's own.

    Args:
        lr: learning rate.
        betas: of Adam.
        clip: largest gradient norm of the group; None does not clip.
    """

    def __init__(
        self, lr: float | None = None, betas: tuple[float, float] | None = None, clip: float | None = None
    ) -> None:
        self.settings: dict[str, Any] = {k: v for k, v in (("lr", lr), ("betas", betas)) if v is not None}
        self.clip = clip


class Optimization:
    """One optimizer for all players, each with a parameter group of its own.

    Args:
        optimizer: called with the groups.
        scheduler: learning-rate schedule, stepped once per optimizer step.
        codec: settings of the codec's group, or of that of the prior which is trained on a codec's codes.
        discriminator: settings of the discriminator's group.
        patience: consecutive non-finite steps after which training stops; each of them is skipped.
        postpone: leave the skipping to a fused optimizer on a GPU, so that the host waits for no step and counts it one
            later; codebooks then still learn from what is finite in it.
    """

    def __init__(
        self,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        codec: OptimizerGroup | None = None,
        discriminator: OptimizerGroup | None = None,
        patience: int = 10,
        postpone: bool = False,
    ) -> None:
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.groups = {"codec": codec or OptimizerGroup(), "discriminator": discriminator or OptimizerGroup()}
        self.patience = patience
        self.postpone = postpone


class Optimized(L.LightningModule, ABC):
    """What tasks share: optimizer, guard, clipping, and the number of the next batch.

    Args:
        optimization: optimizer, schedule and the settings of each player's group.
    """

    def __init__(self, optimization: Optimization) -> None:
        super().__init__()
        self.optimization = optimization
        self.guard = Guard(optimization.patience)
        self._sound = True

    @abstractmethod
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters by player; each is in exactly one group."""

    @abstractmethod
    def start_from(self, source: str) -> None:
        """Take the weights of an earlier run or model (``--init``). Raises CodecError where they do not fit."""

    def resting(self) -> list[str]:
        """Players that do not move in this optimizer step; asked once in each."""
        return []

    def advance(self, batch: Batch) -> None:
        """Tell the data module that a batch was trained on."""
        # in training_step: Lightning calls on_train_batch_end after the callbacks that write checkpoints
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        if datamodule is not None:
            datamodule.next_batch = batch.index + 1

    def log_skipped(self, batch_size: int) -> None:
        """How many steps were not finite so far."""
        # filled on the device: a number would be copied there, and the host would wait for all that is under way
        skipped = torch.full((), float(self.guard.skipped), device=self.device)
        self.log("train/skipped_steps", skipped, batch_size=batch_size)

    def configure_optimizers(self) -> Any:
        groups = [
            {"params": parameters, "name": name, **self.optimization.groups[name].settings}
            for name, parameters in self.parameter_groups().items()
        ]
        optimizer = self.optimization.optimizer(groups)
        if self.optimization.scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.optimization.scheduler(optimizer), "interval": "step"},
        }

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Take the gradients away from whoever must not move: all after a non-finite step, and who rests."""
        groups = _players(optimizer)
        gradients = [p.grad for parameters in groups.values() for p in parameters if p.grad is not None]
        if self._leaves_out(optimizer):
            optimizer.found_inf = self.guard.postponed(gradients)  # type: ignore[attr-defined]  # read by its kernel
            self._sound = True
        else:
            self._sound = self.guard.step_is_sound(gradients)
        resting = self.resting()
        for name in resting if self._sound else groups:
            for parameter in groups.get(name, []):
                parameter.grad = None  # with no gradient at all, Adam's moments rest too

    def _leaves_out(self, optimizer: Optimizer) -> bool:
        """Whether the optimizer is to skip steps by a flag on the device; a scaler's (fp16) is its own."""
        fused = all(group.get("fused") for group in optimizer.param_groups)
        possible = fused and self.device.type == "cuda" and self.trainer.precision != "16-mixed"
        return self.optimization.postpone and possible

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        for name, parameters in _players(optimizer).items():
            clip = self.optimization.groups[name].clip or gradient_clip_val
            if clip:
                torch.nn.utils.clip_grad_norm_(parameters, clip)


def _players(optimizer: Optimizer) -> dict[str, list[nn.Parameter]]:
    """The parameters of each, as the optimizer has them: to look for them in all modules takes milliseconds."""
    return {group["name"]: group["params"] for group in optimizer.param_groups}
