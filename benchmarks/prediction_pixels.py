"""What a DiT in pixels should predict: StaMo's two tokens (``configs/image/stamo_two_token.yaml``), made small.

Pictures of 32 x 32 in 4 x 4 patches of 192 numbers, a DiT of 96 channels, two tokens of 64 bits each. Both are trained
on the same batches. PSNR of others by numbers of steps.

    python benchmarks/prediction_pixels.py --train FOLDER --val FOLDER --steps 600
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from neuralcodecs import Codec
from neuralcodecs.image.dataset import ImageCrops, scan
from neuralcodecs.image.metrics import PSNR
from neuralcodecs.pretrained import build
from neuralcodecs.sampling import Sampling
from neuralcodecs.sources import entries
from neuralcodecs.training import Denoise, WeightAverage

CONFIG = Path(__file__).parents[1] / "configs" / "image" / "stamo_two_token.yaml"
PREDICTIONS = ("Velocity", "Data")
WEIGHTS = {"commitment": 0.02, "token_entropy": 0.001, "codebook_entropy": 0.001}
SIZE = [32, 32]


def small(prediction: str) -> Codec:
    node: dict[str, Any] = yaml.safe_load(CONFIG.read_text())["model"]["init_args"]["codec"]
    parts = node["init_args"]
    parts["encoder"]["init_args"].update(dim=64, size=SIZE, patch=8, tokens=2, width=64, depth=2, heads=4)
    parts["quantizer"]["init_args"]["groups"] = 8
    parts["segmenter"]["init_args"]["size"] = SIZE
    decoder = parts["decoder"]["init_args"]
    decoder["network"]["init_args"].update(patch=[8, 8], width=96, depth=3, heads=4)
    for part in ("tokens", "vector"):
        decoder["conditioner"]["init_args"][part]["init_args"]["width"] = 96
    decoder["process"]["init_args"]["prediction"] = {"class_path": f"neuralcodecs.decoders.{prediction}"}
    torch.manual_seed(0)
    return build(node, CONFIG.name).train()


def crops(folder: str, count: int) -> Tensor:
    images, _ = scan(entries([folder], (".png", ".jpg")))
    examples, source = ImageCrops(images, 3, SIZE[0]), np.random.default_rng(0)
    return torch.stack([examples.draw(number % len(images), source) for number in range(count)])


def train(codec: Codec, pictures: Tensor, steps: int) -> None:
    """The codec has the averaged weights afterwards."""
    average, objective, source = WeightAverage(), Denoise(WEIGHTS), torch.Generator().manual_seed(0)
    average.start(codec)
    optimizer = torch.optim.AdamW(codec.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.05)
    for step in range(1, steps + 1):
        batch = pictures[torch.randint(len(pictures), (16,), generator=source)]
        terms, _, _ = objective(codec, batch, 8)
        optimizer.zero_grad()
        sum(term.value * term.weight for term in terms.values()).backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update(codec, step)
    average.swap(codec)
    codec.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--val", required=True)
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    pictures, others = crops(options.train, 420), crops(options.val, 48)
    psnr = PSNR()
    for prediction in PREDICTIONS:
        codec = small(prediction)
        train(codec, pictures, options.steps)
        codes = codec.encode(others)
        for steps in (1, 4, 16, 50):
            decoded = codec.decode(codes, Sampling(0, steps)).clamp(-1, 1)
            found = np.mean([psnr(x, y, 0)["psnr"] for x, y in zip(decoded, others, strict=True)])
            print(f"{prediction:9} {steps:3} steps: PSNR {found:.2f} dB", flush=True)


if __name__ == "__main__":
    main()
