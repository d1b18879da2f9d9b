"""EnCodec 24 kHz trained for the same time by the published order of steps in fp32 or by ours in bf16: what each gives.

Same initial networks, data order, losses, balancer and recipe (``gan_step.py``); the adversary starts after ``--start``
batches, because the run is short. The clock stands still while files are judged: mel and STFT distance of speech/test
at 6 kbit/s on the device, at the steps of a grid and at the end, of the weights as they are and of their average over
about the last hundred steps (at a constant rate, single steps differ by a tenth). Some decodings of the average are
kept as FLAC at 16 kHz for metrics that need other packages (PESQ).

    python benchmarks/equal_quality.py ours --data DIR --out DIR [--seconds 480] [--steps N] [--seed 0]
"""

import argparse
import json
import random
import time
from pathlib import Path
from statistics import fmean

import soundfile
import torch
from gan_step import RATE, STEPS, Networks, Recipe, Step, autocast, executions
from torch import Tensor, nn

from neuralcodecs import Codec
from neuralcodecs.audio import GainAndMix, MultiScaleMel, MultiScaleSTFT, files
from neuralcodecs.audio.resample import resample
from neuralcodecs.training import AudioDataModule, Loading
from neuralcodecs.training.seeds import derive

GRID = (300, 450, 600, 800, 1000, 1200, 1500, 2000, 2500, 3000, 4000, 5000, 6000)
KEPT_AT = (1000,)
DECAY = 0.99
LEVELS = 8


class Judge:
    """Distances of decoded test files from the originals."""

    def __init__(self, folder: Path, limit: int | None, device: torch.device, out: Path) -> None:
        paths = sorted(p for p in folder.iterdir() if p.suffix in (".flac", ".wav"))[:limit]
        self.signals = [files.read(path, RATE, 1)[0].to(device) for path in paths]
        self.mel, self.stft = MultiScaleMel(RATE).to(device), MultiScaleSTFT().to(device)
        self.out = out

    @torch.no_grad()
    def __call__(self, codec: Codec, keep: str | None, kept: int) -> dict[str, float]:
        training, tuning = codec.training, torch.backends.cudnn.benchmark
        codec.eval()
        torch.backends.cudnn.benchmark = False  # every file has a length of its own
        mels, stfts = [], []
        for number, signal in enumerate(self.signals):
            decoded = codec.decode(codec.encode(signal[None], LEVELS))
            mels.append(float(self.mel(decoded, signal[None])) / len(self.mel.stfts))
            stfts.append(float(self.stft(decoded, signal[None])))
            if keep and number < kept:
                self.keep(f"{keep}_{number}", decoded[0])
        codec.train(training)
        torch.backends.cudnn.benchmark = tuning
        return {"mel": fmean(mels), "stft": fmean(stfts)}

    def keep(self, name: str, signal: Tensor) -> None:
        soundfile.write(self.out / f"{name}.flac", resample(signal.cpu(), RATE, 16000).clamp(-1, 1)[0].numpy(), 16000)


class Average:
    """The exponential average of weights."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self.weights = weights  # and not their data: caches of weights count what is written to parameters
        self.average = [weight.detach().clone() for weight in weights]
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        self.steps += 1
        torch._foreach_lerp_(self.average, self.weights, 1 - min(DECAY, self.steps / (10 + self.steps)))

    @torch.no_grad()
    def swap(self) -> None:
        """The average takes the weights' place, or they theirs again."""
        for weight, other in zip(self.weights, self.average, strict=True):
            kept = weight.detach().clone()
            weight.copy_(other)
            other.copy_(kept)


def train(step: Step, data: AudioDataModule, judge: Judge, options: argparse.Namespace, device: torch.device) -> None:
    name = f"{options.arm}_{options.seed}"
    log = (judge.out / f"equal_{name}.jsonl").open("w")

    average = Average(step.learned())

    def report(steps: int, seconds: float, keep: bool) -> None:
        figures = judge(step.codec(), None, 0)
        average.swap()
        averaged = judge(step.codec(), f"{name}_{steps}" if keep else None, options.kept)
        average.swap()
        figures |= {f"averaged_{key}": value for key, value in averaged.items()}
        row = {"arm": options.arm, "seed": options.seed, "steps": steps, "seconds": round(seconds, 1), **figures}
        line = json.dumps({k: round(v, 4) if type(v) is float else v for k, v in row.items()})
        print(line, flush=True)
        print(line, file=log, flush=True)

    spent, steps, started = 0.0, 0, time.perf_counter()
    for batch in data.train_dataloader():
        levels = random.Random(derive(batch.seed, 0)).choice((2, 4, 8, 16, 32))
        step(batch.signal.to(device, non_blocking=True), batch.index, batch.seed, levels)
        average.update()
        steps += 1
        asked = steps in GRID or steps % 50 == 0
        if not asked and device.type == "cuda":
            continue
        if device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        spent_now = spent + now - started
        if spent_now >= options.seconds or now > options.until or steps == options.steps:
            break
        if steps in GRID:
            report(steps, spent_now, steps in KEPT_AT)
            spent, started = spent_now, time.perf_counter()
    report(steps, spent_now, keep=True)
    waited = f"waited {data.waited:.1f} s for data"
    memory = f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if device.type == "cuda" else ""
    print(f"{name}: {steps} steps in {spent_now:.1f} s, {waited}; {memory}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arm", choices=[*STEPS])
    parser.add_argument("--data", type=Path, required=True, help="holds speech/{train,val,test}, speech_more/train")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=480, help="of training")
    parser.add_argument("--steps", type=int, help="to stop after: as many as fit the time alone, where a GPU is shared")
    parser.add_argument("--wall", type=float, default=900, help="seconds after which to stop in any case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=500, help="batches before the adversary joins")
    parser.add_argument("--execution", choices=[*executions()], default="plain", help="of ours")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--crop", type=float, default=1.0, help="seconds")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--limit", type=int, help="of test files")
    parser.add_argument("--kept", type=int, default=6, help="decodings to keep")
    options = parser.parse_args()
    options.until = time.perf_counter() + options.wall
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = options.arm == "ours"
    precision = "bf16" if options.arm == "ours" and device.type == "cuda" else "32"
    networks = Networks.fresh(options.seed, device)
    step = STEPS[options.arm](networks, Recipe(options.start, 0.6667), autocast(device, precision))
    if options.arm == "ours":
        step.execution = executions()[options.execution]
    train_folders = [str(options.data / name / "train") for name in ("speech", "speech_more")]
    loading = Loading(workers=options.workers, seed=options.seed, cache=True)
    val = [str(options.data / "speech" / "val")]
    data = AudioDataModule(train_folders, val, RATE, 1, options.crop, options.batch, GainAndMix(), loading)
    data.setup("fit")
    judge = Judge(options.data / "speech" / "test", options.limit, device, options.out)
    for number, signal in enumerate(judge.signals[: options.kept]):
        judge.keep(f"reference_{number}", signal)
    train(step, data, judge, options, device)


if __name__ == "__main__":
    main()
