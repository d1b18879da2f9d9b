"""Continuous latents with a Gaussian posterior (https://arxiv.org/abs/1312.6114), as in latent diffusion.

Ours: vector-quantize-pytorch has none.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuralcodecs.codec import Quantized, Quantizer
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.numerics import checked_levels, straight_through
from neuralcodecs.quantizers.projected import map_channels
from neuralcodecs.quantizers.usage import codebook_statistics


class GaussianKL(Quantizer):
    """Trains on draws from a Gaussian posterior; codes are its means, rounded to a fixed step.

        latents (b, dim) --inward--> mean, log-variance (b, code_dim each)
            training:    mean + deviation * noise     --outward--> (b, dim)
            otherwise:   step * round(mean / step)    --outward--> (b, dim)

    A continuous codec has no codes, but a file or a language model can only get integers from it. So each channel of
    the mean is one codebook of ``codebook_size`` steps centred at zero, and means beyond its range are clipped: every
    method keeps the contract, and the rate is one that can be written. ``step`` is to be small beside the posterior's
    deviations, so that rounding is less than the noise that the decoder has learned to live with.
    Fewer levels than ``code_dim`` leave the means of the other channels at zero.

    The rounding and the clipping are straight-through. Loss: ``kl``, the divergence from the standard normal prior in
    nats, summed over channels and averaged over batch and positions (latent diffusion,
    https://arxiv.org/abs/2112.10752, sums over positions, with weight 1e-6).

    Args:
        dim: channels of the latents.
        code_dim: channels of the posterior.
        step: distance between coded means; the prior's deviation is 1.
        codebook_size: coded values of each channel: means within +-``step * codebook_size / 2``.
    """

    def __init__(self, dim: int, code_dim: int, step: float = 0.0625, codebook_size: int = 256) -> None:
        super().__init__()
        if step <= 0 or codebook_size < 2:
            raise CodecError(f"step {step} must be positive and codebook_size {codebook_size} at least 2")
        self.dim = dim
        self.code_dim = code_dim
        self.step = step
        self.codebook_sizes = (codebook_size,) * code_dim
        self.levels = (code_dim,)
        self.inward = nn.Linear(dim, 2 * code_dim)
        self.outward = nn.Linear(code_dim, dim)

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        used = checked_levels(levels, self.code_dim)
        moments = map_channels(self.inward, latents)
        mean, log_variance = moments[:, :used], moments[:, self.code_dim : self.code_dim + used].clamp(-30, 20)
        codes = self._round(mean)
        if self.training:
            chosen = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        else:
            chosen = straight_through(mean, self._means(codes))
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
        output = map_channels(self.outward, self._fill(chosen))
        return Quantized(output, codes, {"kl": kl}, codebook_statistics(codes, self.codebook_sizes))

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        return self._round(map_channels(self.inward, latents)[:, : checked_levels(levels, self.code_dim)])

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return map_channels(self.outward, self._fill(self._means(codes)))

    def _round(self, mean: Float[Tensor, "b q *grid"]) -> Int64[Tensor, "b q *grid"]:
        size = self.codebook_sizes[0]
        # clamped before the cast: a float beyond int64 has no defined integer value
        return (mean / self.step).round().clamp(-(size // 2), (size - 1) // 2).long() + size // 2

    def _means(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b q *grid"]:
        return (codes - self.codebook_sizes[0] // 2) * self.step

    def _fill(self, means: Float[Tensor, "b q *grid"]) -> Float[Tensor, "b e *grid"]:
        missing = means.new_zeros((len(means), self.code_dim - means.shape[1], *means.shape[2:]))
        return torch.cat((means, missing), dim=1)
