"""Evaluation at every checkpoint: figures and a comparison picture beside it, curves and examples in TensorBoard."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from neuralcodecs.codec import Codec
from neuralcodecs.criteria import Metric
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.curves import draw_curves
from neuralcodecs.evaluation.examples import PICTURE, Example, comparison, decode_examples, write_picture
from neuralcodecs.evaluation.figures import Evaluation
from neuralcodecs.evaluation.measure import evaluate, find_files
from neuralcodecs.evaluation.protocol import config_hash, protocol
from neuralcodecs.evaluation.results import append_csv, summary, table, write_json
from neuralcodecs.evaluation.run import named_files
from neuralcodecs.pretrained import fingerprint
from neuralcodecs.training.average import WeightAverage
from neuralcodecs.training.judging import JudgesSaved


class EvaluateCheckpoints(JudgesSaved):
    """Judges every checkpoint that the run saves on real files, and writes the figures beside it.

    Runs on rank 0 with the averaged weights, by the code path of ``neuralcodecs evaluate``.

    Args:
        data: folders or files of the test set.
        limit: at most so many files, the first in sorted order; None takes all.
        levels: numbers of levels to judge; None takes the quantizer's own.
        examples: files that are shown: in the comparison picture, and in TensorBoard as they sound or look.
        weights: files with the networks of metrics that need one, by the metric's name, for example ``{lpips: PATH}``.
        every_n_train_steps: judge at these steps before checkpoints are saved, so that a ``ModelCheckpoint`` with the
            same number can monitor a figure, such as ``eval/mel_distance/8_levels``, of the very weights that it saves.
            None judges what was saved, which no ``ModelCheckpoint`` can wait for.
    """

    def __init__(
        self,
        data: list[str],
        limit: int | None = None,
        levels: list[int] | None = None,
        examples: int = 2,
        weights: dict[str, str] | None = None,
        every_n_train_steps: int | None = None,
    ) -> None:
        if every_n_train_steps is not None and every_n_train_steps < 1:
            raise CodecError(f"every_n_train_steps {every_n_train_steps}: give at least 1, or null")
        self.data = data
        self.limit = limit
        self.levels = levels
        self.examples = examples
        self.weights = {name: Path(path) for name, path in (weights or {}).items()}
        self.every_n_train_steps = every_n_train_steps
        self._judged: tuple[int, Evaluation] | None = None
        self._metrics: list[Metric] = []
        self._protocol: dict[str, Any] = {}
        self._files: list[Path] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._files = find_files(self.data, pl_module.codec.medium.suffixes, self.limit)  # fail now, not in an hour
        self._metrics = pl_module.codec.medium.metrics(self.weights)
        files = named_files([Path(place) for place in self.data], self._files)
        self._protocol = protocol(self._metrics, files, {})
        super().on_fit_start(trainer, pl_module)
        later = trainer.callbacks[trainer.callbacks.index(self) :]  # type: ignore[attr-defined]
        if self.every_n_train_steps and any(isinstance(callback, WeightAverage) for callback in later):
            raise CodecError("EvaluateCheckpoints with every_n_train_steps must come after WeightAverage in callbacks")

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        step = trainer.global_step
        if not self.every_n_train_steps or step % self.every_n_train_steps or (self._judged or (0,))[0] == step:
            return
        figures: dict[str, float] = {}
        if trainer.is_global_zero:
            figures = monitored(self._evaluate(trainer, pl_module))
        figures = trainer.strategy.broadcast(figures)  # every rank decides alike what to save
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in figures.items()})

    def judge(self, trainer: L.Trainer, pl_module: Any, paths: list[Path]) -> None:
        codec: Codec = pl_module.codec
        evaluation = self._evaluate(trainer, pl_module)
        with self._averaged(trainer, codec):
            examples = decode_examples(codec, self._files[: self.examples], self.levels)
            model = {"fingerprint": fingerprint(codec).hex(), "config_sha256": config_hash(codec)}
        for path in paths:
            facts = {"checkpoint": path.name, "step": trainer.global_step}
            for target in (path.with_suffix(".metrics.json"), path.with_name("metrics.json")):
                write_json(evaluation, target, **facts, protocol=self._protocol | {"model": model})
        append_csv(evaluation, paths[-1].with_name("metrics.csv"), **facts)
        if examples:
            picture = comparison(codec, examples)
            for path in paths:
                write_picture(picture, path.with_suffix(f".{PICTURE}"))
            self._show(trainer, codec, examples, picture)
        self._log(trainer, evaluation)
        self._draw(trainer)
        rank_zero_info(f"\n{', '.join(path.name for path in paths)}\n{table(evaluation)}")

    def _evaluate(self, trainer: L.Trainer, pl_module: Any) -> Evaluation:
        """Of the averaged weights; once per step."""
        if self._judged is None or self._judged[0] != trainer.global_step:
            with self._averaged(trainer, pl_module.codec):
                evaluation = evaluate(pl_module.codec, self._files, self.levels, self._metrics)
            self._judged = (trainer.global_step, evaluation)
        return self._judged[1]

    def _averaged(self, trainer: L.Trainer, codec: Codec) -> AbstractContextManager[None]:
        average = next((c for c in trainer.callbacks if isinstance(c, WeightAverage)), None)  # type: ignore[attr-defined]
        return average.applied(codec) if average else nullcontext()

    def _log(self, trainer: L.Trainer, evaluation: Evaluation) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(monitored(evaluation), trainer.global_step)

    def _draw(self, trainer: L.Trainer) -> None:
        """The run so far as a picture, beside TensorBoard's files."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.flush()
                draw_curves(Path(logger.log_dir))

    def _show(self, trainer: L.Trainer, codec: Codec, examples: list[Example], picture: Tensor) -> None:
        """The comparison, and examples as they sound or look at the fewest and the most levels."""
        for writer in (logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)):
            writer.add_image("comparison", picture, trainer.global_step)
            for example in examples:
                codec.medium.show(writer, f"{example.name}/original", example.original, trainer.global_step)
                for levels in {min(example.decoded), max(example.decoded)}:
                    tag = f"{example.name}/{levels}_levels"
                    codec.medium.show(writer, tag, example.decoded[levels], trainer.global_step)


def monitored(evaluation: Evaluation) -> dict[str, float]:
    """Every figure at every number of levels by the name under which it is logged and monitored."""
    return {
        f"eval/{name}/{setting.levels}_levels": float(value)
        for setting in evaluation.settings
        for name, value in summary(setting).items()
    }
