"""``make demo``: the whole chain on the samples, by the commands that a user would type."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from neuralcodecs.cli import main

CONFIG = Path("configs/audio/quickstart_speech.yaml")
TEST = Path("samples/speech/test")
RUN = Path("runs/demo")


def demo() -> int:
    """Train, evaluate, encode, decode; returns the exit status of the first step that fails."""
    if not CONFIG.is_file():
        print(f"neuralcodecs: no {CONFIG}: run the demo in the repository", file=sys.stderr)
        return 2
    shutil.rmtree(RUN, ignore_errors=True)
    started = time.perf_counter()
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
    for step in steps:
        print(f"\n$ neuralcodecs {' '.join(step)}", flush=True)
        status = main(step)
        if status:
            return status
    print(f"\ntrained in {trained - started:.0f} s, all in {time.perf_counter() - started:.0f} s")
    print(f"run: {RUN} (tensorboard --logdir {RUN}); coded: {coded}; decoded: {decoded}; original: {sample}")
    return 0


if __name__ == "__main__":
    sys.exit(demo())
