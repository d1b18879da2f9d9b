"""Tiles: how an encoder of one fixed picture size codes pictures of any size.

TiTok (https://arxiv.org/abs/2406.07550) knows one size only; cutting larger pictures is ours.
"""

from itertools import product

from jaxtyping import Float
from torch import Tensor

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.pieces import Box, Segmenter, crop, extent, fit


class Tiles(Segmenter):
    """Tiles side by side, row by row; those at the far edges hold what is left and are smaller.

    The encoder pads a smaller tile itself. Made for encoders whose grid is one axis of tokens: the codes of all tiles
    follow each other on it. Seams are visible where the decoder does not hide them: nothing overlaps.

    Args:
        size: of a tile along each axis.
    """

    def __init__(self, size: tuple[int, ...] = (256, 256)) -> None:
        if not size or min(size) < 1:
            raise CodecError(f"size {size}: give at least 1 along each axis")
        self.size = tuple(size)

    def split(self, shape: Shape) -> list[Box]:
        if len(shape) != len(self.size):
            raise CodecError(f"tiles of size {self.size} cannot cut a signal of shape {shape}: give one size per axis")
        per_axis = [
            [(start, min(start + size, length)) for start in range(0, length, size)]
            for length, size in zip(shape, self.size, strict=True)
        ]
        return list(product(*per_axis))

    def join(self, pieces: list[Float[Tensor, "b c *_"]], boxes: list[Box]) -> Float[Tensor, "b c *space"]:
        whole = [max(stop for _, stop in axis) for axis in zip(*boxes, strict=True)]
        output = pieces[0].new_empty((*pieces[0].shape[:2], *whole))
        for piece, box in zip(pieces, boxes, strict=True):
            crop(output, box).copy_(fit(piece, extent(box)))
        return output
