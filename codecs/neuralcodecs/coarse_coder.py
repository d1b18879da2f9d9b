"""Only the coarse levels of a stream are sent, its prior predicts the others (LMCodec, https://arxiv.org/abs/2303.12984).

    codes (q *grid) --the first levels, by the coder--> bytes --the coder--> the same --predict--> codes (q *grid)

What is decoded is not what was encoded, but the same on every machine: the draws are a function of the payload's seed.
"""

from collections.abc import Mapping

from jaxtyping import Int64
from torch import Tensor

from neuralcodecs.bitstream.coarse import COARSE, Coarse
from neuralcodecs.codes import Shape
from neuralcodecs.stream_coder import StreamCoder


class CoarseCoder(StreamCoder):
    """Wraps the coder of a prior, whose fingerprint it has.

    Args:
        coder: one that predicts.
        coarse: what to send; a reader finds it in each payload.
    """

    number = COARSE

    def __init__(self, coder: StreamCoder, coarse: Coarse) -> None:
        super().__init__()
        self.coder, self.coarse = coder, coarse
        self.alphabet = coder.alphabet
        self.chunk_seconds = coder.chunk_seconds

    def encode(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> bytes:
        self.coarse.check(len(values))
        return self.coarse.encode() + self.coder.encode(values[: self.coarse.sent], given)

    def decode(self, data: bytes, levels: int, grid: Shape, given: Mapping[str, Tensor]) -> Int64[Tensor, "q *grid"]:
        coarse, payload = Coarse.split(data)
        coarse.check(levels)
        return self.coder.predict(self.coder.decode(payload, coarse.sent, grid, given), levels, coarse.seed)

    def bits(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> float:
        return self.coder.bits(values[: self.coarse.sent], given)

    @property
    def fingerprint(self) -> bytes:
        return self.coder.fingerprint
