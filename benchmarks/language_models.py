"""Language models of codes, trained for the same time: bits on held-out files, steps and seconds of generation.

Speech: delay, flat and depth (one transformer over frames, one over levels) on the codes of a codec.
    python benchmarks/language_models.py speech runs/quickstart_speech --train DIR --test DIR --minutes 5
Pictures: raster and ZipAR's wavefront, trained with its own order.
    python benchmarks/language_models.py image runs/quickstart_image --train DIR --test DIR --minutes 5 --windows 2 4
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from neuralcodecs.evaluation.measure import find_files
from neuralcodecs.lm import CodecMaterial, CodeModel, Language, Network, PatchModel, PatternModel, Sampling, ready
from neuralcodecs.lm.score import score
from neuralcodecs.sources import entries
from neuralcodecs.training.code_data import CodeWindows, read_all

Factory = Callable[[tuple[int, ...], int], CodeModel]
WARMUP, DECAY = 0.05, 0.3
"""Shares of the time in which the learning rate rises, and falls to 0."""


def factories(options: argparse.Namespace) -> dict[str, Factory]:
    network = Network(options.width, options.layers, options.heads, options.dropout)
    inner = Network(options.width // 2, max(1, options.layers // 3), options.heads, options.dropout)
    if options.medium == "image":
        waves = {f"wavefront {n}": ready.wavefront(n) for n in options.windows}
        patterns = {"raster": ready.flat(), **waves}
        return {name: lambda a, n, p=p: PatternModel(a, n, p, network) for name, p in patterns.items()}
    return {
        "delay": lambda a, n: PatternModel(a, n, ready.delay(), network),
        "flat": lambda a, n: PatternModel(a, n, ready.flat(), network),
        "depth": lambda a, n: PatchModel(a, n, network, inner),
    }


def rate(elapsed: float) -> float:
    """Share of the learning rate at a share of the time."""
    return min(1.0, elapsed / WARMUP, max(0.0, (1 - elapsed) / DECAY))


def train(language: Language, windows: CodeWindows, options: argparse.Namespace) -> dict[str, float]:
    """Until the time is over; all of it counts but the first step, which compiles kernels."""
    device = next(language.parameters()).device
    optimizer = torch.optim.AdamW(language.parameters(), options.lr, betas=(0.9, 0.95), weight_decay=0.1)
    source, shares = np.random.default_rng(0), windows.shares / windows.shares.sum()
    started, steps, elapsed = time.perf_counter(), 0, 0.0
    language.train()
    while elapsed < 1:
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
        value = float(loss.detach())  # waits for the device, so that the clock is right
        if steps == 0:
            started = time.perf_counter()
        steps += 1
        elapsed = (time.perf_counter() - started) / (60 * options.minutes)
    return {"training_steps": steps, "training_bits_per_code": value / np.log(2)}


def generation(language: Language, grid: tuple[int, ...], count: int) -> dict[str, float]:
    """One pass to warm up, one that counts."""
    device = next(language.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        for seed in range(2):
            started = time.perf_counter()
            language.model.sample(grid, Sampling(seed=seed), count).cpu()
            seconds = time.perf_counter() - started
    steps = language.model.steps(grid)
    extent = count * language.material.extent(grid)
    figures = {"grid": list(grid), "steps": steps, "seconds": seconds, "steps_per_second": steps / seconds}
    return figures | {f"{language.material.unit}s_per_second": extent / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("medium", choices=["speech", "image"])
    parser.add_argument("model", help="the codec: a run, a folder, a checkpoint or a config (random weights)")
    parser.add_argument("--train", nargs="+", required=True)
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument("--minutes", type=float, default=5, help="of training, for each model")
    parser.add_argument("--levels", type=int)
    parser.add_argument("--window", type=int, nargs="+", help="positions that the model sees; default 150, or 16 16")
    parser.add_argument("--grid", type=int, nargs="+", help="positions that are generated; default: the window")
    parser.add_argument("--windows", type=int, nargs="+", default=[2], help="of the wavefront")
    parser.add_argument("--only", nargs="+", help="of the models, by name")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--count", type=int, default=1, help="items that are generated together")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--cache", help="folder of the codes")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    material = CodecMaterial(options.model, options.levels, options.cache)
    material.codec.to(device)
    window = options.window or ([16, 16] if options.medium == "image" else [150])
    codes, found, failed = read_all(material, entries(options.train, material.suffixes))
    large = [n for n, c in enumerate(codes) if all(a >= b for a, b in zip(c.shape[1:], window, strict=True))]
    windows = CodeWindows([codes[n] for n in large], [found[n].weight for n in large], tuple(window))
    files = find_files(options.test, material.suffixes)
    for path in tqdm(files, "test codes", unit="file", leave=False):
        material.read(path)
    print(f"{len(large)} of {len(codes)} training files ({len(failed)} unreadable), {len(files)} test files, {device}")
    results: dict[str, Any] = {}
    for name, factory in factories(options).items():
        if options.only and name not in options.only:
            continue
        torch.manual_seed(0)
        language = Language(material, factory, window).to(device)
        figures: dict[str, Any] = {"parameters": sum(p.numel() for p in language.parameters())}
        figures |= train(language, windows, options)
        language.eval()
        figures |= score(language, files)
        figures["generation"] = generation(language, tuple(options.grid or window), options.count)
        results[name] = figures
        shown = {k: v for k, v in figures.items() if type(v) in (int, float)} | {
            f"generation {k}": v for k, v in figures["generation"].items()
        }
        print(name, *(f"{k} {v:.5g}" if type(v) is float else f"{k} {v}" for k, v in shown.items()), sep="\n  ")
        if options.out:
            options.out.write_text(
                json.dumps({"options": vars(options) | {"out": str(options.out)}, **results}, indent=2)
            )


if __name__ == "__main__":
    main()
