"""What stands between long or loud signals and an encoder: boxes that cut a signal, and scales that travel as codes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import EllipsisType

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from neuralcodecs.codes import Shape, Stream
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError

Box = tuple[tuple[int, int], ...]
"""Start and stop along each axis of a signal, after batch and channels."""

SCALE_ALPHABET = 2**32  # a scale travels as the bit pattern of its float32


class Segmenter(Configured, ABC):
    """Cuts a signal into the boxes that the encoder sees one by one, and joins the decoded pieces."""

    @abstractmethod
    def split(self, shape: Shape) -> list[Box]:
        """The boxes, in the order of their codes, that cover a signal of ``shape``."""

    @abstractmethod
    def join(self, pieces: list[Float[Tensor, "b c *_"]], boxes: list[Box]) -> Float[Tensor, "b c *space"]:
        """The signal of decoded pieces; each may be larger than its box, by what the encoder padded."""

    def period(self) -> tuple[int, int]:
        """Of a signal on one axis: positions of a full piece, and from the start of a piece to that of the next.

        A signal is streamed by them. Raises CodecError where pieces depend on the whole signal.
        """
        raise CodecError(f"{type(self).__name__} does not cut signals periodically, so they cannot be streamed")


class Scaler(Configured, ABC):
    """Measures the loudness by which a piece is divided before the encoder and multiplied after the decoder."""

    @abstractmethod
    def __call__(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, " b"]: ...


def extent(box: Box) -> Shape:
    """Shape of a box."""
    return tuple(stop - start for start, stop in box)


def crop(signal: Tensor, box: Box) -> Tensor:
    """The part of ``(..., *space)`` in a box."""
    region: tuple[EllipsisType | slice, ...] = (..., *(slice(start, stop) for start, stop in box))
    return signal[region]


def fit(signal: Tensor, shape: Sequence[int]) -> Tensor:
    """The first positions of ``(..., *space)`` along each axis."""
    return crop(signal, tuple((0, n) for n in shape))


def scale_stream(scales: list[Float[Tensor, " b"]]) -> Stream:
    """The side stream of the scales of each piece: bit patterns of float32, 0 to 2^32 - 1."""
    patterns = torch.stack(scales, dim=-1).float().view(torch.int32).long() & (SCALE_ALPHABET - 1)
    return Stream("scale", patterns[:, None], (SCALE_ALPHABET,), ((len(scales),),) * len(patterns))


def scale_of(pattern: Int64[Tensor, " b"], piece: Float[Tensor, "b c *_"]) -> Float[Tensor, "b *ones"]:
    """The scales of one piece, exactly, to multiply it by; ``pattern``: its entry of the side stream.

    Raises CodecError for one that no ``Scaler`` measures: negative, 0 or not finite.
    """
    scale = (pattern - (pattern >> 31 << 32)).int().view(torch.float32)
    if not ((scale > 0) & scale.isfinite()).all():
        raise CodecError(f"a piece has the scale {scale.min():g}, which no encoder writes: the file is forged")
    return scale.to(piece).view(-1, *(1,) * (piece.ndim - 1))


def joined(grids: Sequence[Shape]) -> Shape:
    """Grid of pieces end to end on the last axis; raises CodecError when they differ in another one."""
    if len({tuple(grid[:-1]) for grid in grids}) > 1:
        raise CodecError(f"pieces have grids {sorted(set(grids))}, which do not join: give another segmenter or none")
    return (*grids[0][:-1], sum(grid[-1] for grid in grids))


def stack_padded(signals: Sequence[Float[Tensor, "c *_"]]) -> Float[Tensor, "b c *space"]:
    """A batch of signals of different shapes, padded with zeros to the largest."""
    largest = [max(axis) for axis in zip(*(signal.shape[1:] for signal in signals), strict=True)]
    batch = signals[0].new_zeros((len(signals), len(signals[0]), *largest))
    for row, signal in zip(batch, signals, strict=True):
        fit(row, signal.shape[1:]).copy_(signal)
    return batch


def runs_of(whole: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Maximal ranges of true entries."""
    edges = np.flatnonzero(np.diff(np.pad(whole, 1)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def uncovered(boxes: Sequence[Box], shape: Shape) -> list[tuple[int, int]]:
    """Ranges of the first axis of a signal of ``shape`` that are not wholly inside the boxes."""
    inside = np.zeros(shape, dtype=bool)
    for box in boxes:
        inside[tuple(slice(start, stop) for start, stop in box)] = True
    return runs_of(np.asarray(~inside.reshape(shape[0], -1).all(axis=1)))
