"""Index backpropagation quantization (https://arxiv.org/abs/2412.02692): a codebook that learns from every position.

Ours: vector-quantize-pytorch has none.
"""

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from neuralcodecs.codec import Quantized, Quantizer
from neuralcodecs.quantizers.entropy import dense_entropies
from neuralcodecs.quantizers.numerics import at_least_float32, checked_levels
from neuralcodecs.quantizers.search import exact_products
from neuralcodecs.quantizers.usage import codebook_statistics


class IBQ(Quantizer):
    """The code with the largest inner product, chosen by a one-hot vector whose gradient is that of a softmax.

    With E the codebook and ``p = softmax(z E^T)``, the output is ``(one_hot - sg(p) + p) E``: the decoder's gradient
    reaches the latents and all codes through p, not the latents directly. Memory grows as positions x codes.

    Losses (published weights): ``soft_commitment`` mean((output - z)^2) (1), ``commitment`` mean((sg(code) - z)^2)
    (1), ``codebook`` mean((code - sg(z))^2) (0.25), ``token_entropy`` and ``codebook_entropy`` of
    ``softmax(z E^T / tau)`` (0.05 each).

    Args:
        dim: channels of the latents.
        codebook_size: number of codes, initially uniform within +-1 / codebook_size.
        tau: temperature of the entropies only.
    """

    def __init__(self, dim: int, codebook_size: int, tau: float = 0.01) -> None:
        super().__init__()
        self.dim = dim
        self.tau = tau
        self.codebook_sizes = (codebook_size,)
        self.levels = (1,)
        self.codebook = nn.Parameter(torch.empty(codebook_size, dim).uniform_(-1 / codebook_size, 1 / codebook_size))

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        checked_levels(levels, 1)
        latents, codebook = at_least_float32(latents), at_least_float32(self.codebook)
        with exact_products(latents.device):
            logits = _logits(latents, codebook)
            codes = logits.argmax(-1)[:, None]
            quantized = self.decode(codes)
            soft = logits.softmax(-1)
            # the value of this product is exactly zero; codes that were not chosen learn through the logits in soft
            gradient = (soft - soft.detach()) @ codebook.detach()
            output = quantized + gradient.movedim(-1, 1)
            entropies = dense_entropies((logits / self.tau).softmax(-1).flatten(0, -2)[:, None])
        losses = {
            "soft_commitment": functional.mse_loss(output, latents),
            "commitment": functional.mse_loss(latents, quantized.detach()),
            "codebook": functional.mse_loss(quantized, latents.detach()),
            **entropies.losses(),
        }
        return Quantized(output, codes, losses, codebook_statistics(codes, self.codebook_sizes))

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        checked_levels(levels, 1)
        with exact_products(latents.device):
            return _logits(at_least_float32(latents), at_least_float32(self.codebook)).argmax(-1)[:, None]

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return functional.embedding(codes[:, 0], at_least_float32(self.codebook)).movedim(-1, 1)


def _logits(latents: Float[Tensor, "b d *grid"], codebook: Float[Tensor, "k d"]) -> Float[Tensor, "b *grid k"]:
    return rearrange(latents, "b d ... -> b ... d") @ codebook.T
