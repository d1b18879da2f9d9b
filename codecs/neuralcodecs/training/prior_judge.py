"""Evaluation of a prior at every checkpoint: the rates of real files, and at the end the model with its priors."""

import copy
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_info

from neuralcodecs.codec import Codec
from neuralcodecs.evaluation.measure import evaluating, find_files
from neuralcodecs.evaluation.prior_rates import Coded, count, encode_files, measure, table, write_rates
from neuralcodecs.learned_coders import coder_of
from neuralcodecs.prior_coders import StaticPriorCoder
from neuralcodecs.priors.counted import StaticPrior
from neuralcodecs.priors.integer import Sealed
from neuralcodecs.priors.learned import LIMIT
from neuralcodecs.sources import entries
from neuralcodecs.training.judging import JudgesSaved
from neuralcodecs.training.prior_rounding import exported_within
from neuralcodecs.training.prior_task import PriorTask

MODEL = "model"
"""Folder, in that of the run, of the codec with its priors."""


class EvaluatePrior(JudgesSaved):
    """Judges the prior of every checkpoint on a test folder, in float, in exact integers and in bits really written.

    Beside it nominal bits, a static prior counted on the training files, and an adaptive one. Runs on rank 0. When
    training ends, the codec, the static prior and the exported one are written to the folder ``model`` of the run.

    Args:
        data: folders or files of the test set.
        limit: at most so many of them, the first in sorted order; None takes all.
        levels: numbers of levels to judge; None takes the quantizer's own.
        counted: at most so many training files are counted for the static prior.
        most_loss: share of the bits that rounding to integers may cost. A prior that loses more is fine-tuned with
            rounding (``priors/rounding.py``), and if that does not help it is not published.
        tuning_steps: of that fine-tuning; 0: none.
    """

    def __init__(
        self,
        data: list[str],
        limit: int | None = None,
        levels: list[int] | None = None,
        counted: int = 1000,
        most_loss: float = LIMIT,
        tuning_steps: int = 300,
    ) -> None:
        self.data = data
        self.limit = limit
        self.levels = levels
        self.counted = counted
        self.most_loss = most_loss
        self.tuning_steps = tuning_steps
        self._files: list[Path] = []
        self._coded: dict[int, list[Coded]] = {}
        self._training: list[Coded] = []
        self._static: StaticPrior | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._files = find_files(self.data, pl_module.codec.medium.suffixes, self.limit)  # fail now, not in an hour
        super().on_fit_start(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        super().on_fit_end(trainer, pl_module)
        if trainer.is_global_zero:
            folder = Path(trainer.default_root_dir) / MODEL
            static = self._prepare(trainer, pl_module)
            with evaluating(pl_module):
                coded = self._coded[max(self._coded)]
                prior = exported_within(pl_module.prior, self._training, coded, self.tuning_steps, self.most_loss)
                publish(pl_module.codec, static, prior, folder)
            rank_zero_info(f"codec and priors in {folder}: neuralcodecs encode -m {folder}")

    def judge(self, trainer: L.Trainer, pl_module: Any, paths: list[Path]) -> None:
        task: PriorTask = pl_module
        static = self._prepare(trainer, task)
        exported = task.prior.export()
        with evaluating(task):
            rates = measure(task.codec, self._coded, static, task.prior, exported)
        unit = task.codec.medium.unit
        for path in paths:
            facts = {"checkpoint": path.name, "step": trainer.global_step}
            write_rates(rates, unit, path.with_suffix(".metrics.json"), **facts)
            write_rates(rates, unit, path.with_name("metrics.json"), **facts)
        for logger in trainer.loggers:
            for rate in rates:
                figures = {f"eval/{name}/{rate.levels}_levels": getattr(rate, name) for name in ("integer", "written")}
                logger.log_metrics(figures, trainer.global_step)
        rank_zero_info(f"\n{', '.join(path.name for path in paths)}\n{table(rates, unit)}")

    def _prepare(self, trainer: L.Trainer, task: PriorTask) -> StaticPrior:
        """Codes of the test files and counts of the training files: neither changes in a run."""
        if self._static is None:
            codec = task.codec
            data = trainer.datamodule  # type: ignore[attr-defined]
            training = [entry.path for entry in entries(data.sources["train"], data.suffixes)][: self.counted]
            most = len(codec.quantizer.codebook_sizes)
            self._training = encode_files(codec, training, [most])[most]
            self._static = count(codec, self._training)
            levels = [codec.check_levels(n) for n in self.levels or codec.quantizer.levels]
            self._coded = encode_files(codec, self._files, levels)
        return self._static


def publish(codec: Codec, static: StaticPrior, exported: Sealed, folder: Path) -> None:
    """Write the codec with both priors, so that ``encode`` uses them."""
    codec = copy.copy(codec)  # priors are attached to what is published, not to what is trained with
    codec.attach("static", StaticPriorCoder(static))
    codec.attach("learned", coder_of(exported, tuple(codec.quantizer.codebook_sizes)))
    codec.save_pretrained(folder)
