"""Evaluation at every checkpoint: figures and a comparison picture beside it, curves and examples in TensorBoard."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
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
from neuralcodecs.evaluation.results import append_csv, summary, table, write_json
from neuralcodecs.training.average import WeightAverage
from neuralcodecs.training.checkpoint import AtomicCheckpointIO


class EvaluateCheckpoints(L.Callback):
    """Judges every checkpoint that the run saves on real files, and writes the figures beside it.

    Runs on rank 0 with the averaged weights, by the code path of ``neuralcodecs evaluate``.

    Args:
        data: folders or files of the test set.
        limit: at most so many files, the first in sorted order; None takes all.
        levels: numbers of levels to judge; None takes the quantizer's own.
        examples: files that are shown: in the comparison picture, and in TensorBoard as they sound or look.
        weights: files with the networks of metrics that need one, by the metric's name, for example ``{lpips: PATH}``.
    """

    def __init__(
        self,
        data: list[str],
        limit: int | None = None,
        levels: list[int] | None = None,
        examples: int = 2,
        weights: dict[str, str] | None = None,
    ) -> None:
        self.data = data
        self.limit = limit
        self.levels = levels
        self.examples = examples
        self.weights = {name: Path(path) for name, path in (weights or {}).items()}
        self._metrics: list[Metric] = []
        self._files: list[Path] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._files = find_files(self.data, pl_module.codec.medium.suffixes, self.limit)  # fail now, not in an hour
        self._metrics = pl_module.codec.medium.metrics(self.weights)
        checkpoint_io(trainer).saved.clear()

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._judge_new(trainer, pl_module)  # the weights are still those saved at the end of the last batch

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._judge_new(trainer, pl_module)

    def _judge_new(self, trainer: L.Trainer, pl_module: Any) -> None:
        io = checkpoint_io(trainer)
        paths, io.saved = io.saved, []
        if not paths or not trainer.is_global_zero:
            return
        average = next((c for c in trainer.callbacks if isinstance(c, WeightAverage)), None)  # type: ignore[attr-defined]
        codec: Codec = pl_module.codec
        with average.applied(codec) if average else nullcontext():
            evaluation = evaluate(codec, self._files, self.levels, self._metrics)
            examples = decode_examples(codec, self._files[: self.examples], self.levels)
        for path in paths:
            facts = {"checkpoint": path.name, "step": trainer.global_step}
            write_json(evaluation, path.with_suffix(".metrics.json"), **facts)
            write_json(evaluation, path.with_name("metrics.json"), **facts)
        append_csv(evaluation, paths[-1].with_name("metrics.csv"), **facts)
        if examples:
            picture = comparison(codec, examples)
            for path in paths:
                write_picture(picture, path.with_suffix(f".{PICTURE}"))
            self._show(trainer, codec, examples, picture)
        self._log(trainer, evaluation)
        self._draw(trainer)
        rank_zero_info(f"\n{', '.join(path.name for path in paths)}\n{table(evaluation)}")

    def _log(self, trainer: L.Trainer, evaluation: Evaluation) -> None:
        for logger in trainer.loggers:
            for setting in evaluation.settings:
                figures = {f"eval/{name}/{setting.levels}_levels": v for name, v in summary(setting).items()}
                logger.log_metrics(figures, trainer.global_step)

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


def checkpoint_io(trainer: L.Trainer) -> AtomicCheckpointIO:
    """The run's checkpoint writer, which knows what was saved; raises CodecError when it is another one."""
    io = trainer.strategy.checkpoint_io
    if not isinstance(io, AtomicCheckpointIO):
        raise CodecError(
            "EvaluateCheckpoints needs plugins=[AtomicCheckpointIO()] in the Trainer, as train.py gives it"
        )
    return io
