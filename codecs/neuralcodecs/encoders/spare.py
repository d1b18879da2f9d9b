"""An encoder with a channel to spare, for what a quantizer tells the decoder (``quantizers.announced``)."""

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape


class SpareEncoder(Encoder):
    """The latents of ``encoder`` and a channel of zeros."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.channels, self.dim, self.strides = encoder.channels, encoder.dim + 1, encoder.strides

    def forward(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b d *grid"]:
        latents = self.encoder(signal)
        return torch.cat((latents, torch.zeros_like(latents[:, :1])), dim=1)

    def frames(self, shape: Shape) -> Shape:
        return self.encoder.frames(shape)
