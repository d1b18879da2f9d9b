"""Held-out information of a language model at every checkpoint: bits in time or space, beside the nominal rate."""

import json
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_info

from neuralcodecs.atomic import atomic
from neuralcodecs.evaluation.measure import find_files
from neuralcodecs.lm.score import score, table
from neuralcodecs.training.judging import JudgesSaved


class JudgeLanguage(JudgesSaved):
    """Measures every checkpoint that the run saves on files kept out of training, and writes the figures beside it.

    ``step=N.metrics.json`` and ``metrics.json``, the log, and ``eval/...`` of the logger. Runs on rank 0.

    Args:
        data: folders or files.
        limit: at most so many files, the first in sorted order; None takes all.
    """

    def __init__(self, data: list[str], limit: int | None = None) -> None:
        self.data = data
        self.limit = limit
        self._files: list[Path] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._files = find_files(self.data, pl_module.language.material.suffixes, self.limit)
        super().on_fit_start(trainer, pl_module)

    def judge(self, trainer: L.Trainer, pl_module: Any, paths: list[Path]) -> None:
        figures = score(pl_module.language, self._files)
        for path in paths:
            text = json.dumps({"checkpoint": path.name, "step": trainer.global_step, **figures}, indent=2)
            for target in (path.with_suffix(".metrics.json"), path.with_name("metrics.json")):
                with atomic(target) as temporary:
                    temporary.write_text(text)
        numbers = {f"eval/{name}": value for name, value in figures.items() if type(value) is float}
        for logger in trainer.loggers:
            logger.log_metrics(numbers, trainer.global_step)
        rank_zero_info(f"\n{', '.join(path.name for path in paths)}\n{table(figures)}")
