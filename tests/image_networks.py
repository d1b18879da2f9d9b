"""Small image networks and real pictures: what the tests of image networks share."""

from functools import partial
from typing import Any

import numpy as np
import torch
from conftest import SAMPLES
from PIL import Image as Pillow
from torch import Tensor

from neuralcodecs.codec import Codec
from neuralcodecs.decoders import AdaptiveGroupNorm, CNNDecoder, ViTDecoder
from neuralcodecs.encoders import CNNEncoder, ViTEncoder
from neuralcodecs.image import Image, Tiles
from neuralcodecs.quantizers.binary import GroupedLFQ

CNN: dict[str, Any] = {"width": 16, "multipliers": (1, 2, 2), "blocks": 1}
VIT: dict[str, Any] = {"patch": 8, "tokens": 5, "width": 32, "depth": 2, "heads": 4}


def picture(height: int, width: int, batch: int = 1, top: int = 200) -> Tensor:
    """Crops of a Kodak photograph in [-1, 1], one below the other."""
    with Pillow.open(SAMPLES / "image" / "test" / "kodim23.png") as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 127.5 - 1
    starts = [(top + 7 * item) % (pixels.shape[1] - height + 1) for item in range(batch)]
    return torch.stack([pixels[:, start : start + height, :width] for start in starts])


def cnn_codec(decoder: Any = None) -> Codec:
    torch.manual_seed(0)
    encoder = CNNEncoder(dim=8, **CNN)
    decoder = decoder or partial(CNNDecoder, level_norm=AdaptiveGroupNorm, **CNN)
    return Codec(Image(), encoder, partial(GroupedLFQ, groups=2), decoder).eval()


def token_codec() -> Codec:
    torch.manual_seed(0)
    encoder = ViTEncoder(dim=6, size=(32, 24), **VIT)
    return Codec(Image(), encoder, partial(GroupedLFQ, groups=2), partial(ViTDecoder, **VIT), Tiles((32, 24))).eval()
