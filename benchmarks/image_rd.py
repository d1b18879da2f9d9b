"""Rate and distortion of picture codecs: trains configs for minutes each, measures their files on a folder of pictures.

    python benchmarks/image_rd.py configs/image/shallow_ntc_linear.yaml --minutes 4 --train DATA/train --test DATA/kodak

Prints per level: bit/pixel written and estimated (by the densities that training used), PSNR, MS-SSIM, milliseconds to
decode one picture (file to signal) on the device and on the CPU, kMAC per pixel of the decoder. With --refine STEPS
also of refined files, and beside them plain ones of the same pictures, as many as fit before --refine-until. Files are
written on the device and read on the CPU: codes that differ are counted. The learning rate rises for a twentieth of the
minutes and falls along a cosine; latents start --gain times as large, and distortion counts --boost times as much for
the first fifth, so that a short training begins with pictures, not with rounded-off nothing. No average of weights.
"""

import argparse
import copy
import itertools
import json
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
from neuralcodecs.codes import Codes
from neuralcodecs.evaluation.complexity import complexity
from neuralcodecs.files import encode_signals, read_codes, write_codes
from neuralcodecs.image import MSE
from neuralcodecs.image.metrics import MSSSIM, PSNR
from neuralcodecs.pretrained import build, fingerprint
from neuralcodecs.quantizers.hyper_coding import HALF
from neuralcodecs.quantizers.hyperprior import Hyperprior
from neuralcodecs.refining import refined

WARM_UP, BOOSTED = 0.05, 0.2


def train(codec: Codec, pictures: list[Tensor], lambdas: list[float], options: argparse.Namespace) -> int:
    """By random crops that stay on the device; returns the number of steps."""
    source, distortion = random.Random(0), MSE()
    codec.train()
    optimizer = torch.optim.Adam(codec.parameters(), lr=options.lr)
    begun = time.monotonic()
    limit = 60 * options.minutes if options.until is None else max(options.until - time.time(), 1)
    for step in itertools.count():
        part = (time.monotonic() - begun) / limit
        if part >= 1:
            return step
        falling = 0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2
        optimizer.param_groups[0]["lr"] = options.lr * max(min(part / WARM_UP, falling), 1e-3)
        levels = source.choice(codec.quantizer.levels)
        batch = torch.stack([_crop(source.choice(pictures), options.size, source) for _ in range(options.batch)])
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=options.bf16):
            decoded, quantized = codec(batch, levels)
        rate = quantized.losses["bits"] / options.size**2
        squared = 255**2 / 4 * distortion(decoded.float(), batch)
        loss = lambdas[codec.quantizer.levels.index(levels)] * (options.boost if part < BOOSTED else 1) * squared + rate
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), options.clip)
        optimizer.step()
        if step % 500 == 0:
            quality = 10 * math.log10(255**2 / squared.item())
            print(f"  step {step}, {part:.0%}: {quality:.2f} dB, {rate.item():.3f} bit/pixel", flush=True)
    raise AssertionError


def measured(codec: Codec, apart: Codec, signal: Tensor, original: Any, codes: Codes, seconds: float) -> dict[str, Any]:
    """One picture, written and read; ``apart``: the same codec on the CPU, which decodes what the device has coded."""
    pixels = math.prod(signal.shape[1:])
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "picture.ncs"
        identity = fingerprint(apart)
        size = write_codes(target, codec, codes, original, identity)
        own = _decoded(codec, target, identity)[1]
        decoded, slow, read = _decoded(apart, target, identity)
    differing = any(not torch.equal(stream.values.cpu(), read[stream.name]) for stream in codes)
    row = {"bit/pixel": 8 * size / pixels, "estimated": estimated(codec, codes) / pixels}
    for metric in (PSNR(), MSSSIM()):
        row |= metric(decoded.clamp(-1, 1), signal, 0)
    device = "ms " + codec.device.type
    return {**row, device: 1000 * own, "ms cpu": 1000 * slow, "encode s": seconds, "other codes": differing}


@torch.no_grad()
def estimated(codec: Codec, codes: Codes) -> float:
    """Bits of all codes by the densities of training, of Gaussians and logistics, not of the tables made of them."""
    quantizer: Hyperprior = codec.quantizer
    values, z = (codes[name].to(codec.device) for name in ("codes", "z"))
    spent = [quantizer.prior.bits((z - quantizer.size // 2).float()).sum()]

    def visit(part, means: Tensor, index: Tensor) -> Tensor:
        own = values[:, part.first : part.last] - HALF
        spent.append((quantizer.conditional.bits(own.float(), index) * part.mask).sum())
        return (own + means) * part.mask

    quantizer.context_of(values, z, visit)
    return float(torch.stack(spent).sum())


def _decoded(codec: Codec, path: Path, identity: bytes) -> tuple[Tensor, float, Codes]:
    begun = time.monotonic()
    read = read_codes(path, codec, identity)[0]
    signal = codec.decode(read)[0].cpu()
    return signal, time.monotonic() - begun, read


def rows(codec: Codec, files: list[Path], levels: int, options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Of plain files; of refined ones, and of plain ones of the same pictures."""
    apart = copy.deepcopy(codec).cpu()
    read = [codec.medium.read(path) for path in files]
    plain = []
    for index, (signal, original) in enumerate([read[0], *read]):
        begun = time.monotonic()
        codes = encode_signals(codec, [signal], levels)[0]
        row = measured(codec, apart, signal, original, codes, time.monotonic() - begun)
        plain += [row] if index else []  # the first one warms up
    found = {"": plain}
    report(codec, "", levels, plain, options)
    if options.refine:
        better = []
        for signal, original in read:
            if options.refine_until is not None and time.time() > options.refine_until:
                break
            begun = time.monotonic()
            codes = refined(codec, signal, levels, options.refine)
            better.append(measured(codec, apart, signal, original, codes, time.monotonic() - begun))
        if better and len(better) < len(plain):
            found[f"the same {len(better)}, plain"] = plain[: len(better)]
        if better:
            found[f"SGA {options.refine} steps, {len(better)} pictures"] = better
        for kind in list(found)[1:]:
            report(codec, kind, levels, found[kind], options)
    return found


def report(codec: Codec, kind: str, levels: int, found: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """One line: means over pictures."""
    means = {name: sum(row[name] for row in found) / len(found) for name in found[0]}
    means["other codes"] = sum(row["other codes"] for row in found)
    figures = ", ".join(f"{name} {value:.4g}" for name, value in {**means, "kMAC/pixel": options.macs}.items())
    worth = codec.quantizer.lambdas[codec.quantizer.levels.index(levels)]
    print(f"{options.name}, lambda {worth:g}, {kind or f'{len(found)} pictures'}: {figures}", flush=True)


def _crop(picture: Tensor, size: int, source: random.Random) -> Tensor:
    top, left = (source.randrange(n - size + 1) for n in picture.shape[1:])
    crop = picture[:, top : top + size, left : left + size]
    return crop.flip(-1) if source.random() < 0.5 else crop


def _pictures(codec: Codec, folder: Path, options: argparse.Namespace) -> list[Tensor]:
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in codec.medium.suffixes]
    read = [codec.medium.read(path)[0] for path in files[: options.limit]]
    return [picture.to(options.device) for picture in read if min(picture.shape[1:]) >= options.size]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", type=Path)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--until", type=float, help="seconds since 1970 at which training ends, instead")
    parser.add_argument("--train", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--test", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--limit", type=int, help="train on so many pictures")
    parser.add_argument("--pictures", type=int, help="measure only so many")
    parser.add_argument("--refine", type=int, help="steps of SGA")
    parser.add_argument("--refine-until", type=float, help="seconds since 1970 after which no picture is refined")
    parser.add_argument("--lambdas", type=float, nargs="+", help="instead of the config's; one per level")
    parser.add_argument("--gain", type=float, default=4.0, help="of fresh latents, where the config has one level")
    parser.add_argument("--boost", type=float, default=4.0)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--threads", type=int, help="of the CPU, for decoding too")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--save", type=Path, help="folder for the trained models")
    parser.add_argument("--out", type=Path, help="folder for a JSON of each picture's row")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    for config in options.configs:
        torch.manual_seed(0)
        described: dict[str, Any] = yaml.safe_load(config.read_text())["model"]["init_args"]
        own = described["codec"]["init_args"]["quantizer"]["init_args"]
        own["lambdas"] = options.lambdas or own["lambdas"]
        if len(own["lambdas"]) == 1:
            own["gains"] = [options.gain]
        options.name = config.stem
        codec = build(described["codec"], str(config)).to(options.device)
        steps = train(codec, _pictures(codec, options.train, options), own["lambdas"], options)
        codec.eval()
        name = f"{config.stem}_{own['lambdas'][0]:g}"
        print(f"{name}: {steps} steps of {options.batch} x {options.size} pixels on {options.device}", flush=True)
        if options.save is not None:
            codec.save_pretrained(options.save / name)
        files = sorted(options.test.rglob("*.png"))[: options.pictures]
        shape = codec.medium.read(files[0])[0].shape[1:]
        options.macs = complexity(copy.deepcopy(codec).cpu(), shape).decoder_macs / 1000
        found = {levels: rows(codec, files, levels, options) for levels in codec.quantizer.levels}
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
