"""The Lightning module that trains language models of codes: one optimizer, automatic, skipped non-finite steps."""

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim import Optimizer

from neuralcodecs.lm.language import KEY, Language, facts
from neuralcodecs.training.data import Batch
from neuralcodecs.training.guard import Guard
from neuralcodecs.training.optimization import Optimization
from neuralcodecs.training.seeds import derive
from neuralcodecs.training.terms import Term


class LanguageTask(L.LightningModule):
    """Trains a language model of codes; needs a ``CodeDataModule``.

    Args:
        language: the model and what it is trained on.
        optimization: optimizer, schedule and patience; of the groups' settings, those of ``codec`` are the model's.
    """

    def __init__(self, language: Language, optimization: Optimization) -> None:
        super().__init__()
        self.language = language
        self.optimization = optimization
        self.guard = Guard(optimization.patience)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        torch.manual_seed(derive(batch.seed, self.global_rank))  # dropout; a function of the batch, never of history
        loss = self.language(batch.signal).mean()
        self.guard.watch({"information": Term(loss, 1.0)})
        self.log("train/bits_per_code", loss.detach() / math.log(2), prog_bar=True, batch_size=len(batch.signal))
        self.log("train/skipped_steps", float(self.guard.skipped), batch_size=len(batch.signal))
        # here and not in on_train_batch_end, which Lightning calls after the callbacks that write checkpoints
        self.trainer.datamodule.next_batch = batch.index + 1  # type: ignore[attr-defined]
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._validate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._validate("test", batch)

    def configure_optimizers(self) -> Any:
        settings = self.optimization.groups["codec"].settings
        optimizer = self.optimization.optimizer([{"params": list(self.parameters()), "name": "language", **settings}])
        if self.optimization.scheduler is None:
            return optimizer
        schedule = self.optimization.scheduler(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        if not self.guard.step_is_sound(gradients):
            for parameter in self.parameters():
                parameter.grad = None  # with no gradient at all, Adam's moments rest too

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        clip = self.optimization.groups["codec"].clip or gradient_clip_val
        if clip:
            torch.nn.utils.clip_grad_norm_(self.parameters(), clip)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = facts(self.language)

    def _validate(self, stage: str, batch: Batch) -> None:
        for codes in batch.signal:
            bits, positions, extent = self.language.information(codes)
            rate = f"{stage}/bits_per_{self.language.material.unit}"
            self.log(rate, float(bits.sum()) / extent, batch_size=1, sync_dist=True, prog_bar=True)
            self.log(f"{stage}/bits_per_code", float(bits.mean()) / positions, batch_size=1, sync_dist=True)
