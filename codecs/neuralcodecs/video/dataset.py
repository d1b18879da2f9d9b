"""Training and validation clips of video files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from neuralcodecs.cache import Cache
from neuralcodecs.image.files import from_bytes
from neuralcodecs.sources import Entry, survey
from neuralcodecs.video import files


class VideoFile(NamedTuple):
    """A file whose packets were counted. ``shape``: frames, height and width."""

    path: Path
    weight: float
    kind: str
    shape: tuple[int, int, int]


def scan(entries: Sequence[Entry]) -> tuple[list[VideoFile], list[str]]:
    """Count the frames of all files: those that can be used, and one line for each that cannot."""

    def look(entry: Entry) -> VideoFile:
        frames, height, width = files.info(entry.path).shape
        return VideoFile(*entry, (frames, height, width))

    return survey(entries, look)


class VideoClips:
    """Random clips ``(3, frames, size, size)``: any first frame, a square at any place, left to right half the time.

    The side of a square is drawn evenly from ``scale`` times the shorter side, at least ``size`` where there are that
    many pixels; resizing is bilinear with antialiasing. A file of fewer frames repeats its last. Files are drawn by
    their weights alone.

    Args:
        videos: what may be drawn.
        frames: of a clip.
        size: of its sides in pixels.
        scale: smallest and largest side of a square, relative to the shorter side of its video.
        cache: decode all files now and hold them, a byte per pixel and channel; otherwise each draw decodes its file
            up to the last frame that it needs.
    """

    def __init__(
        self,
        videos: Sequence[VideoFile],
        frames: int,
        size: int,
        scale: tuple[float, float] = (0.5, 1.0),
        cache: bool = False,
    ) -> None:
        self.videos, self.frames, self.size, self.scale = videos, frames, size, scale
        self.captions: Sequence[bytes] = ()
        self.shares: NDArray[np.float64] = np.array([video.weight for video in videos])
        self._cache: Cache | None = None
        if cache:
            self._cache = Cache([(3, *video.shape) for video in videos], torch.uint8, self._whole)

    def draw(self, file: int, source: np.random.Generator) -> Float[Tensor, "3 t h w"]:
        """A clip of ``file``; a function of the two arguments. Raises CodecError where it cannot be read."""
        count, height, width = self.videos[file].shape
        taken = min(self.frames, count)
        start = int(source.integers(count - taken + 1))
        shorter = min(height, width)
        side = round(max(source.uniform(*self.scale) * shorter, min(self.size, shorter)))
        top, left = (int(source.integers(n - side + 1)) for n in (height, width))
        flipped = source.random() < 0.5
        clip = _clip(self._frames(file, start, taken), self.frames, (top, left, side), self.size)
        return clip.flip(-1) if flipped else clip

    def _frames(self, file: int, start: int, count: int) -> UInt8[Tensor, "3 t h w"]:
        if self._cache is not None and self._cache.holds(file):
            return self._cache[file][:, start : start + count]
        return files.load(self.videos[file].path, start, count)[0]

    def _whole(self, file: int) -> UInt8[Tensor, "3 t h w"]:
        return files.load(self.videos[file].path, 0, self.videos[file].shape[0])[0]


class VideoCentres(Dataset[Tensor]):
    """The first frames of each video, the largest square in their middle, resized: the same at every validation."""

    def __init__(self, videos: Sequence[VideoFile], frames: int, size: int) -> None:
        self.videos, self.frames, self.size = videos, frames, size

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> Float[Tensor, "3 t h w"]:
        count, height, width = self.videos[index].shape
        side = min(height, width)
        pixels, _ = files.load(self.videos[index].path, 0, min(count, self.frames))
        return _clip(pixels, self.frames, ((height - side) // 2, (width - side) // 2, side), self.size)


def _clip(
    pixels: UInt8[Tensor, "3 t h w"], frames: int, square: tuple[int, int, int], size: int
) -> Float[Tensor, "3 t2 s s"]:
    """A square (top, left, side) of the frames in [-1, 1], the last one repeated up to ``frames``."""
    top, left, side = square
    cut = from_bytes(pixels[:, :, top : top + side, left : left + side]).transpose(0, 1)
    resized = F.interpolate(cut, (size, size), mode="bilinear", antialias=True, align_corners=False)
    missing = frames - len(resized)
    whole = torch.cat([resized, resized[-1:].expand(missing, -1, -1, -1)]) if missing > 0 else resized
    return whole.transpose(0, 1).clamp(-1, 1).contiguous()
