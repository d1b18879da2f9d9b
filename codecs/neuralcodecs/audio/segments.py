"""How EnCodec 48 kHz treats long and quiet signals: overlapping chunks of its own loudness each.

https://arxiv.org/abs/2210.13438, section 3.1 and the published code.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.pieces import Box, Scaler, Segmenter


class OverlapAdd(Segmenter):
    """Chunks of fixed length that overlap, joined by a linear cross-fade.

    A chunk's weight is a triangle, ``0.5 - |t - 0.5|`` for t in (0, 1) along a full chunk, divided by the sum of the
    weights at each sample. The last chunk is whatever is left, down to a single sample.

    Args:
        segment: samples of a chunk.
        overlap: share of a chunk that the next one covers too; chunks start every ``int((1 - overlap) * segment)``.
    """

    def __init__(self, segment: int = 48000, overlap: float = 0.01) -> None:
        if segment < 1:
            raise CodecError(f"segment {segment}: give at least 1 sample")
        if not 0 <= overlap < 1:
            raise CodecError(f"overlap {overlap}: give a share of the segment, from 0 to below 1")
        self.segment = segment
        self.stride = max(1, int((1 - overlap) * segment))

    def split(self, shape: Shape) -> list[Box]:
        (length,) = shape
        return [((start, min(start + self.segment, length)),) for start in range(0, length, self.stride)]

    def period(self) -> tuple[int, int]:
        return self.segment, self.stride

    def join(self, pieces: list[Float[Tensor, "b c _"]], boxes: list[Box]) -> Float[Tensor, "b c t"]:
        # a decoder may return up to a stride more than a segment: that is padding, and the next chunk has the signal
        pieces = [piece[..., : self.segment] for piece in pieces]
        first = pieces[0]
        ramp = torch.linspace(0, 1, first.shape[-1] + 2, dtype=first.dtype, device=first.device)[1:-1]
        weight = 0.5 - (ramp - 0.5).abs()
        places = [slice(start, start + p.shape[-1]) for p, ((start, _),) in zip(pieces, boxes, strict=True)]
        output = first.new_zeros(*first.shape[:-1], max(place.stop for place in places))
        total = first.new_zeros(output.shape[-1])
        for piece, place in zip(pieces, places, strict=True):
            output[..., place] += weight[: piece.shape[-1]] * piece
            total[place] += weight[: piece.shape[-1]]
        return output / total


class RootMeanSquare(Scaler):
    """Root mean square of the mean of the channels, plus 1e-8 so that silence can be divided by it."""

    def __call__(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, " b"]:
        return signal.mean(dim=1).square().flatten(1).mean(dim=1).sqrt() + 1e-8
