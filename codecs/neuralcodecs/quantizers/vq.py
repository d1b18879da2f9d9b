"""Vector quantization with one codebook learned by gradient (https://arxiv.org/abs/1711.00937).

The variant with running averages in place of gradients is ``ResidualVQ`` with one codebook. Ours rather than
vector-quantize-pytorch's VectorQuantize: that one searches in bfloat16 under CPU autocast (other codes for 1.5 % of
random vectors) and has no cosine search that keeps the codes' lengths.

All classes here return the losses ``codebook`` (codes towards latents) and ``commitment`` (latents towards codes),
mean squared distances; published weights are 1 and 0.25.
"""

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from neuralcodecs.codec import Quantized, Quantizer
from neuralcodecs.quantizers.numerics import at_least_float32, checked_levels, straight_through
from neuralcodecs.quantizers.search import exact_products, nearest
from neuralcodecs.quantizers.usage import codebook_statistics


class VQ(Quantizer):
    """The nearest code by Euclidean distance.

    Args:
        dim: channels of the latents.
        codebook_size: number of codes, initially uniform within +-1 / codebook_size (VQGAN).
    """

    def __init__(self, dim: int, codebook_size: int) -> None:
        super().__init__()
        self.dim = dim
        self.codebook_sizes = (codebook_size,)
        self.levels = (1,)
        self.codebook = nn.Parameter(torch.empty(codebook_size, dim).uniform_(-1 / codebook_size, 1 / codebook_size))

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        return _quantize(at_least_float32(latents), self.encode(latents, levels), self.codebook)

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        checked_levels(levels, 1)
        return _nearest(at_least_float32(latents), self.codebook)

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return _lookup(codes, self.codebook)


class CosineVQ(Quantizer):
    """The code at the smallest angle, returned with its own length (DAC, https://arxiv.org/abs/2306.06546).

    DAC's factorised codebook is this inside ``Projected(code_dim=8)``, its quantizer a ``ResidualStack`` of those.

    Args:
        dim: channels of the latents.
        codebook_size: number of codes, initially normal.
    """

    def __init__(self, dim: int, codebook_size: int) -> None:
        super().__init__()
        self.dim = dim
        self.codebook_sizes = (codebook_size,)
        self.levels = (1,)
        self.codebook = nn.Parameter(torch.randn(codebook_size, dim))

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        return _quantize(at_least_float32(latents), self.encode(latents, levels), self.codebook)

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        checked_levels(levels, 1)
        directions = functional.normalize(at_least_float32(latents), dim=1)
        return _nearest(directions, functional.normalize(at_least_float32(self.codebook), dim=1))

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return _lookup(codes, self.codebook)


class SphericalVQ(Quantizer):
    """Latents and codes both l2-normalised (ViT-VQGAN, https://arxiv.org/abs/2110.04627; LlamaGen, TiTok).

    The straight-through gradient is 1 at the normalised latents u = v / |v|; the losses are taken there too.

    Args:
        dim: channels of the latents.
        codebook_size: number of codes, initially uniform on the sphere.
    """

    def __init__(self, dim: int, codebook_size: int) -> None:
        super().__init__()
        self.dim = dim
        self.codebook_sizes = (codebook_size,)
        self.levels = (1,)
        self.codebook = nn.Parameter(functional.normalize(torch.randn(codebook_size, dim), dim=1))

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        sphere = functional.normalize(at_least_float32(latents), dim=1)
        return _quantize(sphere, self.encode(latents, levels), self._directions())

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        checked_levels(levels, 1)
        return _nearest(functional.normalize(at_least_float32(latents), dim=1), self._directions())

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return _lookup(codes, self._directions())

    def _directions(self) -> Float[Tensor, "k d"]:
        return functional.normalize(at_least_float32(self.codebook), dim=1)


@torch.no_grad()
def _nearest(latents: Float[Tensor, "b d *grid"], codebook: Float[Tensor, "k d"]) -> Int64[Tensor, "b 1 *grid"]:
    with exact_products(latents.device):
        indices = nearest(rearrange(latents, "b d ... -> (b ...) d").float(), codebook.float())
    return indices.view(len(latents), 1, *latents.shape[2:])


def _lookup(codes: Int64[Tensor, "b 1 *grid"], codebook: Float[Tensor, "k d"]) -> Float[Tensor, "b d *grid"]:
    return functional.embedding(codes[:, 0], at_least_float32(codebook)).movedim(-1, 1)


def _quantize(
    latents: Float[Tensor, "b d *grid"], codes: Int64[Tensor, "b 1 *grid"], codebook: Float[Tensor, "k d"]
) -> Quantized:
    quantized = _lookup(codes, codebook)
    losses = {
        "codebook": functional.mse_loss(quantized, latents.detach()),
        "commitment": functional.mse_loss(latents, quantized.detach()),
    }
    statistics = codebook_statistics(codes, (len(codebook),))
    return Quantized(straight_through(latents, quantized), codes, losses, statistics)
