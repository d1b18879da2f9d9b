"""The Lightning module that trains every codec: one optimizer, one backward, automatic optimization (design section 5).

batch --objective(codec)--> terms, output --adversary--> more terms --combination--> one scalar --> Lightning
"""

import random
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Optimizer

from neuralcodecs.codec import Codec
from neuralcodecs.training.adversary import Adversary
from neuralcodecs.training.combine import Combination, WeightedSum
from neuralcodecs.training.data import Batch
from neuralcodecs.training.guard import Guard
from neuralcodecs.training.objectives import Objective
from neuralcodecs.training.seeds import derive
from neuralcodecs.training.stage import Stage
from neuralcodecs.training.terms import Terms


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
    """One optimizer for both players, each with a parameter group of its own.

    Args:
        optimizer: called with the groups.
        scheduler: learning-rate schedule, stepped once per optimizer step.
        codec: settings of the codec's group.
        discriminator: settings of the discriminator's group.
        patience: consecutive non-finite steps after which training stops; each of them is skipped.
    """

    def __init__(
        self,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None = None,
        codec: OptimizerGroup | None = None,
        discriminator: OptimizerGroup | None = None,
        patience: int = 10,
    ) -> None:
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.groups = {"codec": codec or OptimizerGroup(), "discriminator": discriminator or OptimizerGroup()}
        self.patience = patience


class CodecTask(L.LightningModule):
    """Trains a codec.

    Args:
        codec: what is trained, saved and judged.
        objective: what it is trained to do.
        optimization: optimizer, schedule and parameter groups.
        adversary: optional discriminator.
        combination: of the terms; a weighted sum by default.
        stage: what is frozen and what is loaded from an earlier run.

    Raises:
        CodecError: the objective cannot train this codec, or not with this adversary.
    """

    def __init__(
        self,
        codec: Codec,
        objective: Objective,
        optimization: Optimization,
        adversary: Adversary | None = None,
        combination: Combination | None = None,
        stage: Stage | None = None,
    ) -> None:
        super().__init__()
        self.codec = codec
        self.objective = objective
        self.adversary = adversary
        self.combination = combination or WeightedSum()
        self.optimization = optimization
        self.guard = Guard(optimization.patience)
        self.stage = stage or Stage()
        self.stage.prepare(codec)
        objective.check(codec, adversary)
        self._discriminator_learned = False

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        torch.manual_seed(derive(batch.seed, self.global_rank))  # dropout; a function of the batch, never of history
        levels = random.Random(derive(batch.seed, 0)).choice(self.codec.quantizer.levels)
        terms, output, statistics = self.objective(self.codec, batch.signal, levels)
        if self.adversary is not None:
            terms |= self.adversary(output, batch.signal, batch.index, batch.seed)
            self._discriminator_learned |= bool(terms["discriminator"].weight)
        self.guard.watch(terms)
        self._log_terms("train", terms, len(batch.signal))
        self._log_codebooks(statistics)
        # here and not in on_train_batch_end, which Lightning calls after the callbacks that write checkpoints
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        if datamodule is not None:
            datamodule.next_batch = batch.index + 1
        return self.combination(terms, output)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._validate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._validate("test", batch)

    def train(self, mode: bool = True) -> "CodecTask":
        super().train(mode)
        for module in self.stage.frozen(self.codec):
            module.eval()
        return self

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters by player; each is in exactly one group."""
        theirs = [] if self.adversary is None else [p for p in self.adversary.parameters() if p.requires_grad]
        known = {id(p) for p in theirs}
        ours = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        return {"codec": ours, "discriminator": theirs} if theirs else {"codec": ours}

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
        """Take the gradients away from whoever must not move: both after a non-finite step, a resting discriminator."""
        groups = self.parameter_groups()
        gradients = [p.grad for parameters in groups.values() for p in parameters if p.grad is not None]
        self._sound = self.guard.step_is_sound(gradients)
        resting = list(groups) if not self._sound else [] if self._discriminator_learned else ["discriminator"]
        for name in resting:
            for parameter in groups.get(name, []):
                parameter.grad = None  # with no gradient at all, Adam's moments rest too
        self._discriminator_learned = False

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        for name, parameters in self.parameter_groups().items():
            clip = self.optimization.groups[name].clip or gradient_clip_val
            if clip:
                torch.nn.utils.clip_grad_norm_(parameters, clip)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.codec.quantizer.training:
            if self._sound:
                self.codec.quantizer.update()
            else:
                self.codec.quantizer.discard()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["codec"] = self.codec.config()

    def _validate(self, stage: str, batch: Batch) -> None:
        terms, _, _ = self.objective(self.codec, batch.signal, self.codec.quantizer.levels[-1])
        self._log_terms(stage, terms, len(batch.signal))

    def _log_terms(self, stage: str, terms: Terms, batch_size: int) -> None:
        values = {f"{stage}/{name}": term.value.detach() for name, term in terms.items()}
        training = stage == "train"
        self.log_dict(values, batch_size=batch_size, sync_dist=not training)
        if training:
            self.log("train/skipped_steps", float(self.guard.skipped), batch_size=batch_size)
            return
        weighted = [t.value.detach() * t.weight for t in terms.values()]
        self.log(f"{stage}/loss", torch.stack(weighted).sum(), batch_size=batch_size, sync_dist=True, prog_bar=True)

    def _log_codebooks(self, statistics: dict[str, Tensor]) -> None:
        if self.global_step % self.trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        for name, values in statistics.items():
            for level, value in enumerate(values):
                self.log(f"codebook/{name}/{level}", value.float())
