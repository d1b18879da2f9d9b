"""An encoder with channels to spare, for what a quantizer adds (``quantizers.announced``, ``.semantic``)."""

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError


class SpareEncoder(Encoder):
    """The latents of ``encoder`` and ``spare`` channels of zeros, by default one; -1 for as many again."""

    def __init__(self, encoder: Encoder, spare: int = 1) -> None:
        super().__init__()
        self.spare = encoder.dim if spare == -1 else spare
        if self.spare < 1:
            raise CodecError(f"spare {spare}: give at least 1 channel, or -1 for as many as the encoder has")
        self.encoder = encoder
        self.channels, self.dim, self.strides = encoder.channels, encoder.dim + self.spare, encoder.strides

    def forward(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b d *grid"]:
        latents = self.encoder(signal)
        return torch.cat((latents, latents.new_zeros(len(latents), self.spare, *latents.shape[2:])), dim=1)

    def frames(self, shape: Shape) -> Shape:
        return self.encoder.frames(shape)
