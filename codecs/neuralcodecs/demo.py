"""``make demo``: the default models and then the whole chain on the samples, by the commands that a user would type."""

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from neuralcodecs.cli import main
from neuralcodecs.models import SHIPPED

CONFIG = Path("configs/audio/quickstart_speech.yaml")
TEST = Path("samples/speech/test")
RUN = Path("runs/demo")
DEFAULTS = RUN / "defaults"
PICTURES = Path("samples/image/test")


def demo() -> int:
    """Use the default models, train, evaluate, encode, decode; returns the exit status of the first step that fails."""
    if not CONFIG.is_file():
        print(f"neuralcodecs: no {CONFIG}: run the demo in the repository", file=sys.stderr)
        return 2
    shutil.rmtree(RUN, ignore_errors=True)
    started = time.perf_counter()
    status = _defaults()
    if status:
        return status
    used = time.perf_counter()
    training = [sys.executable, "train.py", "fit", "--config", str(CONFIG), "--run", str(RUN)]
    status = subprocess.run(training, check=False).returncode
    if status:
        return status
    trained = time.perf_counter()
    model = str(RUN)
    sample = sorted(TEST.glob("*"))[0]
    coded, decoded = RUN / "sample.ncs", RUN / "sample.wav"
    steps = [
        ["evaluate", model, "--data", str(TEST), "--out", str(RUN / "evaluation")],
        ["encode", str(sample), "-o", str(coded), "-m", model],
        ["info", str(coded)],
        ["decode", str(coded), "-o", str(decoded), "-m", model],
    ]
    status = _do(steps)
    if status:
        return status
    finished = time.perf_counter()
    print(
        f"\ndefault models {used - started:.0f} s, training {trained - used:.0f} s, all in {finished - started:.0f} s"
    )
    print(f"run: {RUN} (tensorboard --logdir {RUN}); coded: {coded}; decoded: {decoded}; original: {sample}")
    return 0


def _defaults() -> int:
    """A recording and a picture to files and back without naming a model, and what one of each keeps."""
    if not SHIPPED.is_dir():
        print("no default models in this tree: only training is shown", flush=True)
        return 0
    sound, picture = sorted(TEST.glob("*"))[0], sorted(PICTURES.glob("*"))[0]
    coded, decoded = DEFAULTS / "coded", DEFAULTS / "decoded"
    files = [str(coded / path.with_suffix(".ncs").name) for path in (sound, picture)]
    return _do(
        [
            ["models"],
            ["encode", str(sound), str(picture), "-o", str(coded)],
            *(["info", file] for file in files),
            ["decode", *files, "-o", str(decoded)],
            *(
                [
                    "evaluate",
                    "--data",
                    str(data),
                    "--out",
                    str(DEFAULTS / data.parts[1]),
                    "--limit",
                    "1",
                    "--examples",
                    "0",
                ]
                for data in (TEST, PICTURES)
            ),
        ]
    )


def _do(steps: Sequence[Sequence[str]]) -> int:
    """Commands up to the first that fails, whose status is returned."""
    for step in steps:
        print(f"\n$ neuralcodecs {' '.join(step)}", flush=True)
        status = main(step)
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(demo())
