"""Latents with a known range, rounded: for features that are given, such as mel spectrograms, and not learned.

Ours: vector-quantize-pytorch has none without learned bounds or maps.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from neuralcodecs.codec import Quantized, Quantizer
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.numerics import at_least_float32, checked_levels, straight_through
from neuralcodecs.quantizers.usage import codebook_statistics


class Rounded(Quantizer):
    """Each channel is a codebook of ``codebook_size`` values, evenly from ``low`` to ``high``; nothing is learned.

        code = round((x - low) / step),  step = (high - low) / (codebook_size - 1)

    In training the latents pass as they are: a decoder of given features learns from the features, and rounding by a
    step that is small beside their noise does not matter to it. Channels beyond the levels asked for are ``low``.

    Args:
        dim: channels of the latents.
        low: smallest value; what is below is coded as it.
        high: largest value.
        codebook_size: values per channel.
    """

    def __init__(self, dim: int, low: float = -16.2, high: float = 5.05, codebook_size: int = 256) -> None:
        super().__init__()
        if not low < high or codebook_size < 2:
            raise CodecError(f"{codebook_size} values from {low} to {high}: give two or more, the lower bound first")
        self.dim, self.low = dim, low
        self.step = (high - low) / (codebook_size - 1)
        self.codebook_sizes = (codebook_size,) * dim
        self.levels = (dim,)

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        codes = self.encode(latents, levels)
        chosen = self.decode(codes)
        if self.training:
            used = (torch.arange(self.dim, device=latents.device) < codes.shape[1]).view(-1, *(1,) * (latents.ndim - 2))
            chosen = torch.where(used, latents, chosen)
        output = straight_through(latents, chosen)
        return Quantized(output, codes, {}, codebook_statistics(codes, self.codebook_sizes))

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        used = at_least_float32(latents[:, : checked_levels(levels, self.dim)])
        # clamped before the cast: a float beyond int64 has no defined integer value
        return ((used - self.low) / self.step).round().clamp(0, self.codebook_sizes[0] - 1).long()

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        missing = codes.new_zeros((len(codes), self.dim - codes.shape[1], *codes.shape[2:]))
        return self.low + self.step * torch.cat((codes, missing), dim=1).float()
