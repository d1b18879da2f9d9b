"""A small picture codec with real parts and random weights, and real pictures in every mode: what image tests share."""

import struct
import zlib
from functools import partial
from pathlib import Path

import torch
from conftest import SAMPLES
from PIL import Image as Pillow
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs import Codec, Decoder, Encoder
from neuralcodecs.image import Image
from neuralcodecs.quantizers.binary import GroupedLFQ

KODAK = SAMPLES / "image" / "test" / "kodim23.png"
PICTURES = sorted((SAMPLES / "image").rglob("*.*g"))


class PatchEncoder(Encoder):
    """One convolution of stride ``patch`` over a picture that is repeated at its edge to a multiple of it."""

    def __init__(self, channels: int = 3, dim: int = 16, patch: int = 8) -> None:
        super().__init__()
        self.channels, self.dim, self.strides = channels, dim, (patch, patch)
        self.conv = nn.Conv2d(channels, dim, patch, patch)

    def forward(self, signal: Tensor) -> Tensor:
        bottom, right = (-n % s for n, s in zip(signal.shape[2:], self.strides, strict=True))
        return self.conv(F.pad(signal, (0, right, 0, bottom), mode="replicate"))

    def frames(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(-(-n // s) for n, s in zip(shape, self.strides, strict=True))


class PatchDecoder(Decoder):
    def __init__(self, dim: int, channels: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(dim, channels, strides, strides)

    def forward(self, latents: Tensor) -> Tensor:
        return torch.tanh(self.conv(latents))


def picture_codec(channels: int = 3, groups: int = 2, patch: int = 8, seed: int = 0) -> Codec:
    """16 bits per patch in ``groups`` codebooks: 0.25 bit per pixel for patches of 8 x 8."""
    torch.manual_seed(seed)
    encoder = PatchEncoder(channels, 16, patch)
    return Codec(Image(channels), encoder, partial(GroupedLFQ, groups=groups), PatchDecoder).eval()


def picture(width: int, height: int, mode: str = "RGB") -> Pillow.Image:
    """A real picture of any size."""
    return Pillow.open(KODAK).convert("RGB").resize((width, height), Pillow.Resampling.BICUBIC).convert(mode)


def bomb(path: Path, width: int, height: int) -> Path:
    """A PNG of a few hundred bytes whose header promises ``width`` x ``height`` pixels."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(3 * min(width, 10**5) + 1))),
        (b"IEND", b""),
    )
    framed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))
    return path
