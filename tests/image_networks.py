"""Small image networks and a medium without files, and real pictures: what the tests of image networks share."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import SAMPLES
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from neuralcodecs.codec import Codec
from neuralcodecs.criteria import Metric
from neuralcodecs.decoders import AdaptiveGroupNorm, CNNDecoder, ViTDecoder
from neuralcodecs.encoders import CNNEncoder, ViTEncoder
from neuralcodecs.image import Tiles
from neuralcodecs.medium import Medium, SignalInfo, Writer
from neuralcodecs.quantizers.binary import GroupedLFQ

CNN: dict[str, Any] = {"width": 16, "multipliers": (1, 2, 2), "blocks": 1}
VIT: dict[str, Any] = {"patch": 8, "tokens": 5, "width": 32, "depth": 2, "heads": 4}


class Pixels(Medium):
    """RGB without files."""

    channels, rate, suffixes, unit = 3, 0, (".png",), "bit/pixel"

    def read(self, path: Path) -> tuple[Float[Tensor, "c *space"], SignalInfo]:
        raise NotImplementedError

    def write(self, path: Path, signal: Float[Tensor, "c *space"], original: SignalInfo) -> None:
        raise NotImplementedError

    def extent(self, shape: tuple[int, ...]) -> float:
        return float(np.prod(shape))

    def bitrate(self, bits: float, shape: tuple[int, ...]) -> float:
        return bits / self.extent(shape)

    def metrics(self) -> list[Metric]:
        return []

    def show(self, writer: Writer, tag: str, signal: Float[Tensor, "c *space"], step: int) -> None:
        raise NotImplementedError


def picture(height: int, width: int, batch: int = 1, top: int = 200) -> Tensor:
    """Crops of a Kodak photograph in [-1, 1], one below the other."""
    with Image.open(SAMPLES / "image" / "test" / "kodim23.png") as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 127.5 - 1
    starts = [(top + 7 * item) % (pixels.shape[1] - height + 1) for item in range(batch)]
    return torch.stack([pixels[:, start : start + height, :width] for start in starts])


def cnn_codec(decoder: Any = None) -> Codec:
    torch.manual_seed(0)
    encoder = CNNEncoder(dim=8, **CNN)
    decoder = decoder or partial(CNNDecoder, level_norm=AdaptiveGroupNorm, **CNN)
    return Codec(Pixels(), encoder, partial(GroupedLFQ, groups=2), decoder).eval()


def token_codec() -> Codec:
    torch.manual_seed(0)
    encoder = ViTEncoder(dim=6, size=(32, 24), **VIT)
    return Codec(Pixels(), encoder, partial(GroupedLFQ, groups=2), partial(ViTDecoder, **VIT), Tiles((32, 24))).eval()
