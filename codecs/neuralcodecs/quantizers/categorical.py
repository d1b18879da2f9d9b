"""Discrete codes by softmax: DIMCO's categorical codes (https://arxiv.org/abs/1905.11656), dVAE's Gumbel softmax."""

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from neuralcodecs.codec import Quantized, Quantizer
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.entropy import Entropies, dense_entropies
from neuralcodecs.quantizers.numerics import at_least_float32, checked_levels, straight_through
from neuralcodecs.quantizers.usage import codebook_statistics


class Categorical(Quantizer):
    """The channels are the logits of independent k-way choices, the quantized latents their one-hot vectors.

    The decoder's first linear layer (or ``Projected``) is therefore the embedding. In training the choice is drawn
    with Gumbel noise and its gradient is that of the softmax (https://arxiv.org/abs/1611.01144); in evaluation, and in
    ``encode`` always, it is the most probable one. Fewer levels than codebooks leave the other channels at zero.

    Losses: ``token_entropy`` and ``codebook_entropy`` (``Entropies.losses``); their sum is minus DIMCO's mutual
    information with each sample as its own class. Its term for independence between codes is not included.

    Args:
        dim: channels of the latents, a multiple of ``codebooks``.
        codebooks: number of choices per position, each among ``dim / codebooks``.
        temperature: of the softmax whose gradient is used.
        gumbel: draw in training; False always takes the most probable choice.
    """

    def __init__(self, dim: int, codebooks: int = 1, temperature: float = 1.0, gumbel: bool = True) -> None:
        super().__init__()
        if codebooks < 1 or dim % codebooks:
            raise CodecError(f"{dim} latent channels do not divide into {codebooks} codebooks: change either")
        self.dim = dim
        self.temperature = temperature
        self.gumbel = gumbel
        self.codebook_sizes = (dim // codebooks,) * codebooks
        self.levels = (codebooks,)

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        logits = self._logits(latents, levels)
        noise = torch.zeros_like(logits)
        if self.training and self.gumbel:
            noise = -torch.empty_like(logits).exponential_().log()
        codes = (logits + noise).argmax(2)
        soft = self._fill(((logits + noise) / self.temperature).softmax(2))
        losses = _entropies(logits).losses()
        statistics = codebook_statistics(codes, self.codebook_sizes)
        return Quantized(straight_through(soft, self.decode(codes)), codes, losses, statistics)

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        return self._logits(latents, levels).argmax(2)

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return self._fill(functional.one_hot(codes, self.codebook_sizes[0]).movedim(-1, 2).float())

    def entropies(self, latents: Float[Tensor, "b d *grid"], labels: Int64[Tensor, "b *grid"]) -> Entropies:
        """DIMCO's objective with labels: codes of a class alike, codes of all classes diverse."""
        return _entropies(self._logits(latents, None), labels.flatten())

    def _logits(self, latents: Float[Tensor, "b d *grid"], levels: int | None) -> Float[Tensor, "b q k *grid"]:
        groups = rearrange(at_least_float32(latents), "b (q k) ... -> b q k ...", k=self.codebook_sizes[0])
        return groups[:, : checked_levels(levels, len(self.codebook_sizes))]

    def _fill(self, chosen: Float[Tensor, "b q k *grid"]) -> Float[Tensor, "b d *grid"]:
        """Channels of the given codebooks, zero in those of the others."""
        channels = chosen.flatten(1, 2)
        missing = channels.new_zeros((len(channels), self.dim - channels.shape[1], *channels.shape[2:]))
        return torch.cat((channels, missing), dim=1)


def _entropies(logits: Float[Tensor, "b q k *grid"], labels: Int64[Tensor, " n"] | None = None) -> Entropies:
    return dense_entropies(rearrange(logits.softmax(2), "b q k ... -> (b ...) q k"), labels)
