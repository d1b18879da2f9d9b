"""Step time of a config as it trains (Lightning, data, logging), launched by Python or replayed as CUDA graphs.

python benchmarks/step_time.py configs/audio/speech_16khz.yaml [--train DIR] [--steps 200] [--execution Eager Graphs]
"""

import argparse
import tempfile

import torch

from neuralcodecs.layers.paths import PATHS
from neuralcodecs.training.run import main as train


def arguments(options: argparse.Namespace, execution: str, folder: str, more: list[str]) -> list[str]:
    config, train, steps, paths = options.config, options.train, options.steps, options.paths
    name = f"{config.rsplit('/', 1)[-1]}, {execution}:"
    data = [f"--data.init_args.train=[{train}]"] if train else []
    return [
        *("fit", "--config", config, *data, "--run", f"{folder}/{execution}"),
        *(f"--trainer.max_steps={steps}", "--trainer.limit_val_batches=0", "--trainer.num_sanity_val_steps=0"),
        *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
        f"--trainer.callbacks=[{{class_path: clock.Clock, init_args: {{first: {steps // 2}, name: '{name}'}}}}]",
        f"--model.init_args.execution={{class_path: neuralcodecs.training.{execution}, init_args: {{paths: {paths}}}}}",
        *more,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="configs/audio/quickstart_speech.yaml")
    parser.add_argument("--train", help="folder of training files; by default the config's")
    parser.add_argument("--steps", type=int, default=200 if torch.cuda.is_available() else 4)
    parser.add_argument("--execution", nargs="+", choices=["Eager", "Graphs"], default=["Eager", "Graphs"])
    parser.add_argument("--paths", nargs="*", choices=PATHS, default=[], help="see neuralcodecs.layers.paths")
    options, more = parser.parse_known_args()
    for execution in options.execution:
        with tempfile.TemporaryDirectory() as folder:
            train(arguments(options, execution, folder, more))


if __name__ == "__main__":
    main()
