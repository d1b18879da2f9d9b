"""Training crops and validation squares of picture files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor
from torch.utils.data import Dataset

from neuralcodecs.cache import Cache
from neuralcodecs.captions import shortened
from neuralcodecs.image import files
from neuralcodecs.sources import Entry, survey

LONGEST_CAPTION = 1024
"""Bytes that are kept of a caption while training; a model may take fewer."""


class ImageFile(NamedTuple):
    """A file whose header was read. ``shape``: height and width in pixels. ``caption``: empty where it has none."""

    path: Path
    weight: float
    kind: str
    shape: tuple[int, int]
    caption: bytes = b""


def scan(entries: Sequence[Entry]) -> tuple[list[ImageFile], list[str]]:
    """Read the headers of all files: those that can be used, and one line for each that cannot."""

    def look(entry: Entry) -> ImageFile:
        height, width = files.info(entry.path).shape
        return ImageFile(*entry, (height, width), shortened(files.caption(entry.path), LONGEST_CAPTION))

    return survey(entries, look)


class ImageCrops:
    """Random squares of pictures, resized to ``(channels, size, size)`` and flipped left to right half the time.

    The side of a square is drawn evenly from ``scale`` times the picture's shorter side, and is at least ``size`` where
    the picture has that many pixels: only pictures smaller than that are enlarged. Its place is drawn evenly. Files are
    drawn by their weights alone. Captions are those of whole pictures. Resizing is bicubic with antialiasing, on 8-bit
    pixels.

    Args:
        images: what may be drawn.
        channels: of the crops.
        size: of the crops in pixels.
        scale: smallest and largest side of a square, relative to the shorter side of its picture.
        cache: decode all files now and hold them: a byte per pixel and channel, in every process of a DDP run.

    Raises:
        CodecError: what is to be held needs more than half of the machine's memory.
    """

    def __init__(
        self,
        images: Sequence[ImageFile],
        channels: int,
        size: int,
        scale: tuple[float, float] = (0.5, 1.0),
        cache: bool = False,
    ) -> None:
        self.images = images
        self.channels = channels
        self.size = size
        self.scale = scale
        captions = tuple(file.caption for file in images)
        self.captions: Sequence[bytes] = captions if any(captions) else ()
        self.shares: NDArray[np.float64] = np.array([file.weight for file in images])
        self._cache: Cache | None = None
        if cache:
            shapes = [(channels, *file.shape) for file in images]
            self._cache = Cache(shapes, torch.uint8, lambda n: files.to_tensor(files.load(images[n].path, channels)[0]))

    def draw(self, file: int, source: np.random.Generator) -> Float[Tensor, "c h w"]:
        """A crop of ``file``; a function of the two arguments. Raises CodecError where it cannot be read."""
        picture = self._picture(file)
        shorter = min(picture.size)
        side = max(source.uniform(*self.scale) * shorter, min(self.size, shorter))
        left, top = (source.uniform(0, n - side) if n > side else 0.0 for n in picture.size)
        square = _resized(picture, (left, top, left + side, top + side), self.size)
        return square.flip(-1) if source.random() < 0.5 else square

    def _picture(self, file: int) -> Pillow.Image:
        if self._cache is not None and self._cache.holds(file):
            pixels = self._cache[file].permute(1, 2, 0).numpy()
            return Pillow.fromarray(pixels[..., 0] if self.channels == 1 else np.ascontiguousarray(pixels))
        return files.load(self.images[file].path, self.channels)[0]


class ImageSquares(Dataset[Tensor]):
    """The largest square in the middle of each picture, resized to ``size``: the same at every validation."""

    def __init__(self, images: Sequence[ImageFile], channels: int, size: int) -> None:
        self.images = images
        self.channels = channels
        self.size = size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Float[Tensor, "c h w"]:
        picture, _ = files.load(self.images[index].path, self.channels)
        side = min(picture.size)
        left, top = ((n - side) / 2 for n in picture.size)
        return _resized(picture, (left, top, left + side, top + side), self.size)


def _resized(picture: Pillow.Image, box: tuple[float, float, float, float], size: int) -> Float[Tensor, "c h w"]:
    """Pixels inside ``box`` (left, top, right, bottom; fractions of pixels are allowed) in [-1, 1]."""
    left, top, right, bottom = box
    bounded = (left, top, min(right, picture.width), min(bottom, picture.height))  # sums may round beyond the edge
    return files.from_bytes(files.to_tensor(picture.resize((size, size), Pillow.Resampling.BICUBIC, bounded)))
