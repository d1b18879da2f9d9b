"""Quantizers whose codes are signs: grouped lookup-free (LFQ, WeTok's GQ) and binary spherical quantization.

Ours rather than vector-quantize-pytorch's LFQ: that one lays out a probability for every position and each of the
2 ** bits codes, and clamps them at 1e-5, which biases the entropy of codebooks above 2 ** 16
(``benchmarks/quantizer_binary.py`` measures both).
"""

import math

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from neuralcodecs.codec import Quantized, Quantizer
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.entropy import binary_entropies
from neuralcodecs.quantizers.numerics import at_least_float32, checked_levels, straight_through
from neuralcodecs.quantizers.usage import codebook_statistics

MAX_BITS = 18  # of one codebook: the marginal entropy needs a histogram of 2 ** bits entries


class GroupedLFQ(Quantizer):
    """Grouped lookup-free quantization: each channel becomes its sign, each group of channels one code.

    ``groups=1`` is LFQ (https://arxiv.org/abs/2310.05737), more groups WeTok's GQ (https://arxiv.org/abs/2508.05599,
    section 3). The code of a group is ``sum over its bits b of 2 ** b * [x_b > 0]``: its first channel is the least
    significant bit. Fewer levels than groups leave the channels of the missing groups at zero.

    Losses: ``commitment`` (mean squared distance to the signs), ``token_entropy`` and ``codebook_entropy``
    (``Entropies.losses``); the paper weighs them 0.25, 0.1 and 0.1.

    Args:
        dim: channels of the latents, a multiple of ``groups``.
        groups: codebooks, each of ``2 ** (dim / groups)`` codes.
        tau: temperature of the soft assignment, ``p(bit = 1) = sigmoid(4 x / tau)``.
        pool_groups: take the entropies as WeTok's released code does instead of its paper (``binary_entropies``).
    """

    def __init__(self, dim: int, groups: int = 1, tau: float = 0.01, pool_groups: bool = False) -> None:
        super().__init__()
        self.bits = _bits_per_group(dim, groups)
        self.dim = dim
        self.groups = groups
        self.tau = tau
        self.pool_groups = pool_groups
        self.codebook_sizes = (2**self.bits,) * groups
        self.levels = (groups,)

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        latents = at_least_float32(latents)
        codes = self.encode(latents, levels)
        quantized = self.decode(codes)
        used = slice(self.bits * codes.shape[1])
        logits = 4 / self.tau * _rows(latents[:, used], self.bits)
        losses = {
            "commitment": functional.mse_loss(latents[:, used], quantized[:, used].to(latents.dtype)),
            **binary_entropies(logits, self.pool_groups).losses(),
        }
        statistics = codebook_statistics(codes, self.codebook_sizes)
        return Quantized(straight_through(latents, quantized), codes, losses, statistics)

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        used = self.bits * checked_levels(levels, self.groups)
        return _pack(latents[:, :used] > 0, self.bits)

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return _signs(codes, self.bits, self.dim)


class BSQ(Quantizer):
    """Binary spherical quantization (https://arxiv.org/abs/2406.07548): the corner of a cube nearest on the sphere.

    ``u = v / |v|`` over channels, quantized to ``sign(u) / sqrt(dim)`` with sign(0) = +1. The first channel of a group
    is its most significant bit, as in FocalCodec (https://arxiv.org/abs/2502.04465), which is ``BSQ(13)``.
    The straight-through gradient is 1 at u: at v it is the projection onto the sphere's tangent, divided by ``|v|``.

    Losses: ``token_entropy`` and ``codebook_entropy`` (``Entropies.losses``), exact for each group and with
    ``groups == dim`` the paper's independent bits; FocalCodec weighs both 0.1. No commitment: the sphere bounds v.

    Args:
        dim: channels of the latents, a multiple of ``groups``.
        groups: codebooks, each of ``2 ** (dim / groups)`` codes; all share one sphere.
        tau: temperature of the soft assignment, ``p(bit = 1) = sigmoid(4 u / (tau sqrt(dim)))``.
    """

    def __init__(self, dim: int, groups: int = 1, tau: float = 0.01) -> None:
        super().__init__()
        self.bits = _bits_per_group(dim, groups)
        self.dim = dim
        self.groups = groups
        self.tau = tau
        self.codebook_sizes = (2**self.bits,) * groups
        self.levels = (groups,)

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        sphere = functional.normalize(at_least_float32(latents), dim=1)
        codes = self.encode(latents, levels)
        logits = 4 / (self.tau * math.sqrt(self.dim)) * _rows(sphere[:, : self.bits * codes.shape[1]], self.bits)
        losses = binary_entropies(logits).losses()
        statistics = codebook_statistics(codes, self.codebook_sizes)
        return Quantized(straight_through(sphere, self.decode(codes)), codes, losses, statistics)

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        used = self.bits * checked_levels(levels, self.groups)
        # dividing by the norm changes no sign
        return _pack(_reverse_groups(latents[:, :used] >= 0, self.bits), self.bits)

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return _reverse_groups(_signs(codes, self.bits, self.dim), self.bits) / math.sqrt(self.dim)


def _bits_per_group(dim: int, groups: int) -> int:
    if groups < 1 or dim % groups:
        raise CodecError(f"{dim} latent channels do not divide into {groups} groups: choose groups that divides dim")
    if dim // groups > MAX_BITS:
        raise CodecError(
            f"{dim} channels in {groups} groups are {dim // groups} bits per code, at most {MAX_BITS}: use more groups"
        )
    return dim // groups


def _rows(channels: Float[Tensor, "b d *grid"], bits: int) -> Float[Tensor, "n q bits"]:
    return rearrange(channels, "b (q k) ... -> (b ...) q k", k=bits)


def _reverse_groups(channels: Tensor, bits: int) -> Tensor:
    """Reverse the channels within each group: least significant bit first to most significant first, and back."""
    return rearrange(channels, "b (q k) ... -> b q k ...", k=bits).flip(2).flatten(1, 2)


def _pack(positive: Bool[Tensor, "b d *grid"], bits: int) -> Int64[Tensor, "b q *grid"]:
    groups = rearrange(positive, "b (q k) ... -> b q ... k", k=bits)
    return (groups * 2 ** torch.arange(bits, device=positive.device)).sum(-1)


def _signs(codes: Int64[Tensor, "b q *grid"], bits: int, dim: int) -> Float[Tensor, "b d *grid"]:
    """+1 and -1 of the codes' bits, zero in the channels of groups that are not given."""
    positive = (codes[..., None] >> torch.arange(bits, device=codes.device)) & 1
    signs = rearrange(2.0 * positive - 1.0, "b q ... k -> b (q k) ...")
    missing = signs.new_zeros((len(signs), dim - signs.shape[1], *signs.shape[2:]))
    return torch.cat((signs, missing), dim=1)
