"""Quantization of a part of each training batch only (Mimi, https://arxiv.org/abs/2410.00037, section 3.3.3)."""

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.codec import Quantized, QuantizerFactory
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.wrapping import Transparent


class Bypassed(Transparent):
    """A quantizer that lets some items of a training batch pass as they are; in evaluation it is the quantizer inside.

    The decoder and the encoder then also learn from latents without quantization error: early in training, when codes
    lag behind the latents, that is where the waveform is learned. Codes, losses and statistics are those of all items.
    Which items pass is drawn from torch's generator, which the task seeds by the batch.

    Args:
        dim: channels of the latents.
        quantizer: called with ``dim``.
        share: probability with which an item passes, 0 to 1; Mimi: 0.5.
    """

    made_by_codec = {"quantizer": ("dim",)}

    def __init__(self, dim: int, quantizer: QuantizerFactory, share: float = 0.5) -> None:
        if not 0 <= share <= 1:
            raise CodecError(f"share {share}: give a probability from 0 to 1")
        super().__init__(quantizer(dim))
        self.share = share

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        quantized = self.quantizer(latents, levels)
        if not self.training:
            return quantized
        drawn = torch.rand(len(latents), device=latents.device) < self.share
        passes = drawn.view(-1, *(1,) * (latents.ndim - 1))
        return quantized._replace(latents=torch.where(passes, latents, quantized.latents))
