"""The Lightning module that trains language models of codes."""

import math

import torch
from torch import Tensor, nn

from neuralcodecs.lm.language import KEY, Language, facts, load_weights
from neuralcodecs.training.data import Batch
from neuralcodecs.training.optimization import Optimization, Optimized
from neuralcodecs.training.seeds import derive
from neuralcodecs.training.terms import Term


class LanguageTask(Optimized):
    """Trains a language model of codes; needs a ``CodeDataModule``.

    Args:
        language: the model and what it is trained on.
        optimization: optimizer, schedule and patience; of the groups' settings, those of ``codec`` are the model's.
    """

    def __init__(self, language: Language, optimization: Optimization) -> None:
        super().__init__(optimization)
        self.language = language

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        torch.manual_seed(derive(batch.seed, self.global_rank))  # dropout; a function of the batch, never of history
        loss = self.language(batch.signal).mean()
        self.guard.watch({"information": Term(loss, 1.0)})
        self.log("train/bits_per_code", loss.detach() / math.log(2), prog_bar=True, batch_size=len(batch.signal))
        self.log_skipped(len(batch.signal))
        self.advance(batch)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._validate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._validate("test", batch)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"codec": list(self.language.parameters())}

    def start_from(self, source: str) -> None:
        load_weights(self.language, source)

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint[KEY] = facts(self.language)

    def _validate(self, stage: str, batch: Batch) -> None:
        for codes in batch.signal:
            bits, positions, extent = self.language.information(codes)
            rate = f"{stage}/bits_per_{self.language.material.unit}"
            self.log(rate, float(bits.sum()) / extent, batch_size=1, sync_dist=True, prog_bar=True)
            self.log(f"{stage}/bits_per_code", float(bits.mean()) / positions, batch_size=1, sync_dist=True)
