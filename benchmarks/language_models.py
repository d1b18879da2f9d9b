"""Language models of codes, trained for the same time: bits on held-out files, steps and seconds of generation.

Speech: delay, flat, parallel and depth (one transformer over frames, one over levels) on the codes of a codec.
    python benchmarks/language_models.py speech runs/quickstart_speech --train DIR --val DIR --test DIR --minutes 5
Pictures: raster and ZipAR's wavefront, trained with its own order.
    python benchmarks/language_models.py image runs/quickstart_image --train DIR --test DIR --minutes 5 --windows 2 4

With ``--val`` the weights that did best there are the ones that are judged: a small corpus is soon learned by heart.
``--together`` trains all models at once, each in a process of its own, on one device. Results are written as they come.
"""

import argparse
import itertools
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuralcodecs.evaluation.measure import find_files
from neuralcodecs.lm import CodecMaterial, CodeModel, Language, Network, PatchModel, PatternModel, Sampling, ready
from neuralcodecs.lm.score import score
from neuralcodecs.sources import entries
from neuralcodecs.training.code_data import CodeWindows, read_all

Factory = Callable[[tuple[int, ...], int], CodeModel]
WARMUP, DECAY = 0.05, 0.3
"""Shares of the time in which the learning rate rises, and falls to 0."""
SUFFIX = {"speech": ".wav", "image": ".png"}


def factories(options: argparse.Namespace) -> dict[str, Factory]:
    network = Network(options.width, options.layers, options.heads, options.dropout)
    inner = Network(options.width // 2, max(1, options.layers // 3), options.heads, options.dropout)
    if options.medium == "image":
        patterns = {"raster": ready.flat()} | {f"wavefront{n}": ready.wavefront(n) for n in options.windows}
    else:
        patterns = {"delay": ready.delay(), "flat": ready.flat(), "parallel": ready.parallel()}
    made: dict[str, Factory] = {
        name: lambda a, n, p=pattern: PatternModel(a, n, p, network)  # type: ignore[misc]
        for name, pattern in patterns.items()
    }
    return made if options.medium == "image" else made | {"depth": lambda a, n: PatchModel(a, n, network, inner)}


def rate(elapsed: float) -> float:
    """Share of the learning rate at a share of the time."""
    return min(1.0, elapsed / WARMUP, max(0.0, (1 - elapsed) / DECAY))


@dataclass
class Best:
    """The weights that did best on files for validation; without any, the last ones."""

    files: Sequence[Path]
    bits: float = math.inf
    elapsed: float = 1.0
    weights: dict[str, Tensor] = field(default_factory=dict)
    seen: list[tuple[float, float]] = field(default_factory=list)

    def look(self, language: Language, elapsed: float) -> None:
        if not self.files:
            return
        bits = score(language, self.files)[f"bits_per_{language.material.unit}"]
        self.seen.append((round(elapsed, 3), bits))
        if bits < self.bits:
            self.bits, self.elapsed = bits, elapsed
            self.weights = {name: tensor.clone() for name, tensor in language.state_dict().items()}

    def restore(self, language: Language) -> dict[str, Any]:
        if not self.weights:
            return {}
        language.load_state_dict(self.weights)
        return {"validation_bits": self.bits, "best_at_share_of_time": self.elapsed, "validation": self.seen}


def train(
    name: str, language: Language, windows: CodeWindows, best: Best, options: argparse.Namespace
) -> dict[str, Any]:
    """Until the time is over; all of it counts but the first step, which compiles kernels, and validation."""
    device = next(language.parameters()).device
    optimizer = torch.optim.AdamW(language.parameters(), options.lr, betas=(0.9, 0.95), weight_decay=0.1)
    source, shares = np.random.default_rng(0), windows.shares / windows.shares.sum()
    seconds, steps, elapsed, looks, losses = 0.0, 0, 0.0, 1, [0.0]
    language.train()
    while elapsed < 1:
        started = time.perf_counter()
        files = source.choice(len(shares), options.batch, p=shares)
        batch = torch.stack([windows.draw(int(file), source) for file in files]).to(device, non_blocking=True)
        for group in optimizer.param_groups:
            group["lr"] = options.lr * rate(elapsed)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = language(batch).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(language.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()) / math.log(2))  # waits for the device, so that the clock is right
        seconds += time.perf_counter() - started if steps else 0.0
        steps, elapsed = steps + 1, seconds / (60 * options.minutes)
        if elapsed >= looks / options.looks or elapsed >= 1:
            best.look(language, elapsed)
            looks = int(elapsed * options.looks) + 1
            print(f"{name} {elapsed:.0%}, {steps} steps, {losses[-1]:.3f} bit/code", *best.seen[-1:], flush=True)
    figures = {"training_steps": steps, "training_steps_per_second": (steps - 1) / max(seconds, 1e-9)}
    return figures | {"training_bits_per_code": float(np.mean(losses[-20:]))} | best.restore(language)


def generation(language: Language, grid: tuple[int, ...], count: int) -> tuple[dict[str, Any], Tensor]:
    """A short pass to warm up, then one that counts; with its codes."""
    device = next(language.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        language.model.sample(tuple(min(n, 4) for n in grid), Sampling(), count).cpu()
        started, processor = time.perf_counter(), time.process_time()
        codes = language.model.sample(grid, Sampling(), count).cpu()
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
    steps, unit = language.model.steps(grid), language.material.unit
    extent = language.material.extent(grid)
    figures = {
        "steps": steps,
        f"steps_per_{unit}_of_signal": steps / extent,
        "seconds": seconds,
        "processor_seconds": processor,
        "steps_per_second": steps / seconds,
        f"{unit}s_of_signal_per_second": count * extent / seconds,
    }
    return figures, codes


def run(name: str, factory: Factory, material: CodecMaterial, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one model; what is known is written after each part."""
    window = options.window or ([16, 16] if options.medium == "image" else [150])
    codes, found, failed = read_all(material, entries(options.train, material.suffixes)[: options.limit])
    large = [n for n, c in enumerate(codes) if all(a >= b for a, b in zip(c.shape[1:], window, strict=True))]
    windows = CodeWindows([codes[n] for n in large], [found[n].weight for n in large], tuple(window))
    val, test = (find_files(f, material.suffixes)[: options.limit] if f else [] for f in (options.val, options.test))
    figures: dict[str, Any] = {"training_files": len(large), "too_short": len(codes) - len(large), "bad": len(failed)}
    torch.manual_seed(0)
    language = Language(material, factory, window).to(material.codec.device)
    figures["parameters"] = sum(p.numel() for p in language.parameters())
    if options.minutes:
        figures |= train(name, language, windows, Best(val), options)
        write(options.out, {name: figures})
        figures |= score(language.eval(), test)
        write(options.out, {name: figures})
    language.eval()
    for grid, count in itertools.product(options.grid or [window], options.count):
        size = "x".join(map(str, grid))
        figures[f"generation of {count} x {size}"], made = generation(language, tuple(grid), count)
        write(options.out, {name: figures})
        if options.out:
            shape = tuple(n * stride for n, stride in zip(grid, material.codec.encoder.strides, strict=True))
            material.write(options.out.with_name(f"{name}_{size}{SUFFIX[options.medium]}"), made[0], shape)
    show(name, figures)
    return figures


def show(name: str, figures: dict[str, Any]) -> None:
    lines = [f"  {key} {value:.6g}" for key, value in figures.items() if type(value) in (int, float)]
    for key, value in figures.items():
        if type(value) is dict:
            lines.append(f"  {key}: " + ", ".join(f"{k} {v:.5g}" for k, v in value.items() if type(v) in (int, float)))
    print(name, *lines, sep="\n", flush=True)


def write(out: Path | None, results: dict[str, Any]) -> None:
    if out is not None:
        out.write_text(json.dumps(results, indent=2, default=str))


def together(names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Each model in a process of its own, all at once; one that fails leaves the others alone."""
    command = [a for a in sys.argv if a != "--together"]
    folder = options.out.with_suffix("")
    folder.mkdir(exist_ok=True)
    outs = {name: folder / f"{name}.json" for name in names}
    started = {
        name: subprocess.Popen([sys.executable, *command, "--only", name, "--out", str(out)])
        for name, out in outs.items()
    }
    ends = {name: process.wait() for name, process in started.items()}
    print(*(f"{name} ended with status {end}" for name, end in ends.items() if end), sep="\n", flush=True)
    return {name: json.loads(out.read_text())[name] for name, out in outs.items() if out.is_file()}


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("medium", choices=["speech", "image"])
    parser.add_argument("model", help="the codec: a run, a folder, a checkpoint or a config (random weights)")
    parser.add_argument("--train", nargs="+", required=True)
    parser.add_argument("--val", nargs="+", default=[], help="by which the best weights are chosen")
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument("--minutes", type=float, default=5, help="of training, for each model; 0: generation alone")
    parser.add_argument("--looks", type=int, default=10, help="at the files of --val")
    parser.add_argument("--levels", type=int)
    parser.add_argument("--window", type=int, nargs="+", help="positions that the model sees; default 150, or 16 16")
    parser.add_argument("--grid", type=int, nargs="+", action="append", help="to generate; default: the window")
    parser.add_argument("--windows", type=int, nargs="+", default=[2], help="of the wavefront")
    parser.add_argument("--only", nargs="+", help="of the models, by name")
    parser.add_argument("--together", action="store_true", help="all models at once; needs --out")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--count", type=int, nargs="+", default=[1], help="items that are generated together")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--limit", type=int, help="files of each kind at most")
    parser.add_argument("--cache", help="folder of the codes")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    if options.together and options.out is None:
        parser.error("--together needs --out: the figures of each model are gathered there")
    return options


def main() -> None:
    options = options_of()
    material = CodecMaterial(options.model, options.levels, options.cache)
    material.codec.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    chosen = {k: f for k, f in factories(options).items() if not options.only or k in options.only}
    if options.together:
        for folders in filter(None, (options.train, options.val, options.test)):
            read_all(material, entries(folders, material.suffixes)[: options.limit])
        results = together(list(chosen), options)
    else:
        results = {name: run(name, factory, material, options) for name, factory in chosen.items()}
    write(options.out, {"options": vars(options), **results})


if __name__ == "__main__":
    main()
