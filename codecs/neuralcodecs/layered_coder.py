"""A learned prior of the first levels and a static one of the others: most of the saving at a fraction of the weights.

What came before says much of the coarse levels of a residual quantizer and little of the fine ones, and each level of a
network's tables costs as much.

    codes (q *grid) --the first k levels, by one coder; the others, if there are any, by another--> length, bytes, bytes
"""

import io
from collections.abc import Mapping

import torch
from jaxtyping import Int64
from torch import Tensor

from neuralcodecs.bitstream.wire import Source, varint
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.stream_coder import StreamCoder

LAYERED = 6
LONGEST = 2**31
"""Bytes of a payload."""


class LayeredPriorCoder(StreamCoder):
    """Two priors, of different levels of one stream.

    Args:
        first: of the first levels; chunks are as long as it wants them.
        rest: of those after them.
    """

    number = LAYERED

    def __init__(self, first: StreamCoder, rest: StreamCoder) -> None:
        super().__init__()
        self.first, self.rest = first, rest
        self.alphabet = (*first.alphabet, *rest.alphabet)
        self.chunk_seconds = first.chunk_seconds

    def encode(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> bytes:
        coarse, fine = self._split(values)
        payload = self.first.encode(coarse, given)
        return varint(len(payload)) + payload + (self.rest.encode(fine, given) if len(fine) else b"")

    def decode(self, data: bytes, levels: int, grid: Shape, given: Mapping[str, Tensor]) -> Int64[Tensor, "q *grid"]:
        if not 1 <= levels <= len(self.alphabet):
            raise CodecError(f"{levels} levels: these priors know 1 to {len(self.alphabet)}")
        source = Source(io.BytesIO(data))
        length = source.varint("the length of the first levels", LONGEST)
        payload = source.take(length, "the first levels")
        fine = levels - len(self.first.alphabet)
        coarse = self.first.decode(payload, min(levels, len(self.first.alphabet)), grid, given)
        if fine <= 0:
            source.end()
            return coarse
        return torch.cat([coarse, self.rest.decode(data[source.offset :], fine, grid, given)])

    def bits(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> float:
        coarse, fine = self._split(values)
        return self.first.bits(coarse, given) + (self.rest.bits(fine, given) if len(fine) else 0.0)

    def _split(self, values: Int64[Tensor, "q *grid"]) -> tuple[Tensor, Tensor]:
        most = len(self.first.alphabet)
        return values[:most], values[most:]
