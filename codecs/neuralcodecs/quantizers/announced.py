"""Quantizers that tell the decoder at which bitrate they ran, as Vocos wants it (https://arxiv.org/abs/2306.00814)."""

from bisect import bisect_right

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from neuralcodecs.codec import Quantized, QuantizerFactory
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.wrapping import Wrapping


class Announced(Wrapping):
    """A quantizer of all channels but the last, which holds the number of the bitrate: its place in ``levels``.

    A number of levels in between counts as the next lower one. The encoder leaves that channel free
    (``encoders.SpareEncoder``).

    Args:
        dim: channels of the latents, the spare one included.
        quantizer: called with one channel less.
    """

    made_by_codec = {"quantizer": ("dim",)}

    def __init__(self, dim: int, quantizer: QuantizerFactory) -> None:
        super().__init__()
        if dim < 2:
            raise CodecError(f"dim {dim}: one channel holds the bitrate, give at least one more")
        self.dim = dim
        self.quantizer = quantizer(dim - 1)
        self.codebook_sizes = self.quantizer.codebook_sizes
        self.levels = self.quantizer.levels

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        quantized = self.quantizer(latents[:, :-1], levels)
        return quantized._replace(latents=self._announce(quantized.latents, quantized.codes.shape[1]))

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        return self.quantizer.encode(latents[:, :-1], levels)

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return self._announce(self.quantizer.decode(codes), codes.shape[1])

    def _announce(self, latents: Float[Tensor, "b d *grid"], used: int) -> Float[Tensor, "b e *grid"]:
        number = max(0, bisect_right(self.levels, used) - 1)
        return torch.cat((latents, torch.full_like(latents[:, :1], float(number))), dim=1)
