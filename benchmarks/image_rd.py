"""Rate and distortion of picture codecs: trains configs for minutes each, measures their files on a folder of pictures.

    python benchmarks/image_rd.py configs/image/shallow_ntc_linear.yaml --minutes 4 --train DATA/train --test DATA/kodak

Prints per level: bit/pixel written, PSNR, MS-SSIM, milliseconds to decode one picture (file to signal), kMAC per pixel
of the decoder; with --refine STEPS also of refined files. The learning rate falls along a cosine of the minutes given.
"""

import argparse
import itertools
import math
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from neuralcodecs.codec import Codec
from neuralcodecs.evaluation.complexity import complexity
from neuralcodecs.files import encode_signals, read_codes, write_codes
from neuralcodecs.image import MSE
from neuralcodecs.image.metrics import MSSSIM, PSNR
from neuralcodecs.pretrained import build
from neuralcodecs.refining import refined

WARM = 3


def train(codec: Codec, pictures: list[Tensor], lambdas: list[float], options: argparse.Namespace) -> int:
    """By random crops that stay on the device; returns the number of steps."""
    source, distortion = random.Random(0), MSE()
    codec.train()
    optimizer = torch.optim.Adam(codec.parameters(), lr=options.lr)
    begun, limit = time.monotonic(), 60 * options.minutes
    for step in itertools.count():
        spent = time.monotonic() - begun
        if spent >= limit:
            return step
        optimizer.param_groups[0]["lr"] = options.lr * (0.01 + 0.99 * (1 + math.cos(math.pi * spent / limit)) / 2)
        levels = source.choice(codec.quantizer.levels)
        batch = torch.stack([_crop(source.choice(pictures), options.size, source) for _ in range(options.batch)])
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=options.bf16):
            decoded, quantized = codec(batch, levels)
        rate = quantized.losses["bits"] / options.size**2
        loss = lambdas[levels - 1] * 255**2 / 4 * distortion(decoded, batch) + rate
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        if step % 500 == 0:
            print(f"step {step}, {spent:.0f} s: loss {loss.item():.3f}, {rate.item():.3f} bit/pixel", flush=True)
    raise AssertionError


def measure(codec: Codec, files: list[Path], levels: int, steps: int | None) -> dict[str, float]:
    """Means over pictures."""
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "picture.ncs"
        for path in files:
            signal, original = codec.medium.read(path)
            codes = (
                encode_signals(codec, [signal], levels)[0] if steps is None else refined(codec, signal, levels, steps)
            )
            size = write_codes(target, codec, codes, original)
            decoded, seconds = _decoded(codec, target)
            row = {"bit/pixel": 8 * size / math.prod(signal.shape[1:]), "ms": 1000 * seconds}
            for metric in (PSNR(), MSSSIM()):
                row |= metric(decoded.clamp(-1, 1), signal, 0)
            rows.append(row)
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def _decoded(codec: Codec, path: Path) -> tuple[Tensor, float]:
    for _ in range(WARM):
        begun = time.monotonic()
        decoded = codec.decode(read_codes(path, codec)[0])[0].cpu()
        seconds = time.monotonic() - begun
    return decoded, seconds


def _crop(picture: Tensor, size: int, source: random.Random) -> Tensor:
    top, left = (source.randrange(n - size + 1) for n in picture.shape[1:])
    crop = picture[:, top : top + size, left : left + size]
    return crop.flip(-1) if source.random() < 0.5 else crop


def _pictures(codec: Codec, folder: Path, device: str) -> list[Tensor]:
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in codec.medium.suffixes]
    return [codec.medium.read(path)[0].to(device) for path in files]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--train", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--test", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--pictures", type=int, help="measure only so many")
    parser.add_argument("--refine", type=int, help="steps of SGA")
    parser.add_argument("--lambdas", type=float, nargs="+", help="instead of the config's; one per level")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--save", type=Path, help="folder for the trained models")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for config in options.configs:
        torch.manual_seed(0)
        arguments: dict[str, Any] = yaml.safe_load(config.read_text())["model"]["init_args"]
        own = arguments["codec"]["init_args"]["quantizer"]["init_args"]
        own["lambdas"] = options.lambdas or own["lambdas"]
        codec = build(arguments["codec"], str(config)).to(device)
        steps = train(codec, _pictures(codec, options.train, device), own["lambdas"], options)
        codec.eval()
        print(f"{config.stem}: {steps} steps of {options.batch} x {options.size} pixels on {device}")
        if options.save is not None:
            codec.save_pretrained(options.save / config.stem)
        files = sorted(options.test.rglob("*.png"))[: options.pictures]
        macs = complexity(codec, codec.medium.read(files[0])[0].shape[1:]).decoder_macs / 1000
        for levels, refinement in itertools.product(codec.quantizer.levels, dict.fromkeys((None, options.refine))):
            row = measure(codec, files, levels, refinement)
            kind = "" if refinement is None else f", SGA {refinement}"
            figures = {**row, "kMAC/pixel": macs}
            print(f"  level {levels}{kind}: " + ", ".join(f"{k} {v:.4g}" for k, v in figures.items()), flush=True)


if __name__ == "__main__":
    main()
