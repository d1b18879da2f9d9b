"""The Lightning module that trains every codec: one optimizer, one backward, automatic optimization (design section 5).

batch --objective(codec)--> terms, output --adversary--> more terms --combination--> one scalar --> Lightning
"""

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from neuralcodecs.codec import Codec
from neuralcodecs.quantizers.gathered import gathered, regather
from neuralcodecs.training.adversary import Adversary
from neuralcodecs.training.combine import Combination, WeightedSum
from neuralcodecs.training.data import Batch
from neuralcodecs.training.execution import Computed, Eager, Execution
from neuralcodecs.training.objectives import Objective
from neuralcodecs.training.optimism import Optimism
from neuralcodecs.training.optimization import Optimization, Optimized
from neuralcodecs.training.seeds import derive
from neuralcodecs.training.stage import Stage, start_from
from neuralcodecs.training.terms import Terms


class CodecTask(Optimized):
    """Trains a codec.

    Args:
        codec: what is trained, saved and judged.
        objective: what it is trained to do.
        optimization: optimizer, schedule and parameter groups.
        adversary: optional discriminator.
        combination: of the terms; a weighted sum by default.
        stage: what is frozen and what is loaded from an earlier run.
        execution: ``Graphs`` replays steps as CUDA graphs; by default Python launches them.

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
        execution: Execution | None = None,
    ) -> None:
        super().__init__(optimization)
        self.codec = codec
        self.objective = objective
        self.adversary = adversary
        self.combination = combination or WeightedSum()
        self.stage = stage or Stage()
        self.stage.prepare(codec)
        objective.check(codec, adversary)
        self.execution = execution or Eager()
        self._discriminator_learned = False
        self._optimism = Optimism()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        torch.manual_seed(derive(batch.seed, self.global_rank))  # dropout; a function of the batch, never of history
        levels = random.Random(derive(batch.seed, 0)).choice(self.codec.quantizer.levels)
        decided = None if self.adversary is None else self.adversary.decide(batch.index, batch.seed)

        def compute(signal: Tensor) -> Computed:
            terms, output, statistics = self.objective(self.codec, signal, levels, batch.captions)
            if self.adversary is not None:
                terms |= self.adversary(output, signal, batch.index, batch.seed)
            return Computed(terms, statistics, self.combination(terms, output))

        settled = self.codec.quantizer.settled and not batch.captions  # which a graph would repeat
        terms, statistics, total = self.execution(compute, batch.signal, self, (levels, decided), settled)
        if self.adversary is not None:
            self._discriminator_learned |= bool(terms["discriminator"].weight)
        self.guard.watch(terms)
        self._log_terms("train", terms, len(batch.signal))
        self._log_codebooks(statistics)
        self.advance(batch)
        return total

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
        theirs = [] if self.adversary is None else [p for p in self.adversary.parameters() if p.requires_grad]
        known = {id(p) for p in theirs}
        ours = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        return {"codec": ours, "discriminator": theirs} if theirs else {"codec": ours}

    def start_from(self, source: str) -> None:
        start_from(source, self.codec, self.adversary)

    def resting(self) -> list[str]:
        """The discriminator in steps that were none of its own."""
        learned, self._discriminator_learned = self._discriminator_learned, False
        return [] if learned else ["discriminator"]

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        if self.adversary is not None and self.adversary.optimistic:
            self._optimism.extrapolate(optimizer, self.adversary.parameters())

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self._optimism.remember()
        if self.codec.quantizer.training:
            if self._sound:
                self.codec.quantizer.update()
            else:
                self.codec.quantizer.discard()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["codec"] = self.codec.config()
        checkpoint["gathered"] = gathered(self.codec)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        regather(self.codec, checkpoint.get("gathered", {}))

    def _validate(self, stage: str, batch: Batch) -> None:
        terms, _, _ = self.objective(self.codec, batch.signal, self.codec.quantizer.levels[-1])
        self._log_terms(stage, terms, len(batch.signal))

    def _log_terms(self, stage: str, terms: Terms, batch_size: int) -> None:
        values = {f"{stage}/{name}": term.value.detach() for name, term in terms.items()}
        training = stage == "train"
        self.log_dict(values, batch_size=batch_size, sync_dist=not training)
        if training:
            self.log_skipped(batch_size)
            return
        weighted = [t.value.detach() * t.weight for t in terms.values()]
        self.log(f"{stage}/loss", torch.stack(weighted).sum(), batch_size=batch_size, sync_dist=True, prog_bar=True)

    def _log_codebooks(self, statistics: dict[str, Tensor]) -> None:
        if self.global_step % self.trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        for name, values in statistics.items():
            for level, value in enumerate(values):
                self.log(f"codebook/{name}/{level}", value.float())
