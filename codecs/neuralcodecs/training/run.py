"""``train.py``: LightningCLI with a run folder, a safe resume, and checkpoints that survive a kill."""

import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from neuralcodecs.checkpoints import FOLDER, newest
from neuralcodecs.errors import CodecError
from neuralcodecs.training.checkpoint import AtomicCheckpointIO
from neuralcodecs.training.data import SignalDataModule
from neuralcodecs.training.interrupt import SaveOnExit


class TrainingCLI(LightningCLI):
    """One folder per run: the resolved config, checkpoints with their metrics, and TensorBoard's files.

    ``--run DIR`` names it; ``--resume true`` goes on from its newest whole checkpoint, or starts if it has none;
    ``--init MODEL`` starts with the weights of an exported folder, its discriminator's too where it has one.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--run", type=str, default="runs/default", help="folder of this run")
        parser.add_argument("--resume", type=bool, default=False, help="go on from the run's newest whole checkpoint")
        parser.add_argument("--init", type=str | None, default=None, help="model whose weights a fresh run starts with")
        parser.link_arguments("run", "trainer.default_root_dir")

    def before_instantiate_classes(self) -> None:
        config = self.config[self.config.subcommand]
        folder = Path(config.run) / FOLDER
        found = newest(folder)
        if self.config.subcommand != "fit":
            config.ckpt_path = config.ckpt_path or (str(found) if found else None)
            if config.ckpt_path is None:
                raise CodecError(f"no checkpoint in {folder}: train first, or name one with --ckpt_path")
        elif config.resume:
            config.ckpt_path = str(found) if found else None
        elif found and not config.ckpt_path:
            raise CodecError(f"{folder} already has checkpoints: add --resume true to go on, or give another --run")

    def instantiate_classes(self) -> None:
        super().instantiate_classes()
        config = self.config[self.config.subcommand]
        if config.init is not None and config.ckpt_path is None:
            self.model.start_from(config.init)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        config = self._get(self.config_init, "trainer", default={})
        run = self._get(self.config_init, "run")
        if config.get("logger") in (None, True):
            kwargs["logger"] = TensorBoardLogger(run, name="", version="")
        if precision := instead_of(str(config.get("precision")), str(config.get("accelerator"))):
            warnings.warn(f"on a CPU training is in {precision}: half precision is slow there, or wrong", stacklevel=2)
            kwargs["precision"] = precision
        kwargs["plugins"] = [*_as_list(config.get("plugins")), AtomicCheckpointIO()]
        return super().instantiate_trainer(**kwargs)


def instead_of(precision: str, accelerator: str) -> str | None:
    """The precision in which to train, if not in the one that a config made for GPUs asks for.

    torch 2.11 on CPUs with AMX: a strided convolution of 2000 bfloat16 samples is off by 80 %, of 2003 it is not.
    """
    cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
    return "32-true" if cpu and precision == "bf16-mixed" else None


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else value if type(value) is list else [value]


def main(arguments: list[str] | None = None) -> None:
    """Parse, build and run: ``fit``, ``validate``, ``test``; ``--print_config`` shows the resolved config."""
    TrainingCLI(
        model_class=L.LightningModule,
        subclass_mode_model=True,
        datamodule_class=SignalDataModule,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={"use_distributed_sampler": False, "callbacks": [SaveOnExit()]},
        args=arguments,
    )
