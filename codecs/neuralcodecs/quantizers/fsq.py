"""Finite scalar quantization (https://arxiv.org/abs/2309.15505): each channel is rounded to one of a few values.

vector-quantize-pytorch does it right (its decoded codes equal its training output to the last bit, its cost is that of
the arithmetic), so these classes only bring it behind the contract.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from vector_quantize_pytorch import FSQ as ScalarQuantizer

from neuralcodecs.codec import Quantized, Quantizer
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.numerics import at_least_float32, checked_levels
from neuralcodecs.quantizers.usage import codebook_statistics

MAX_CODES = 2**20  # the library keeps a table of all codes; it forms codes in float32, exact up to 2 ** 24


class FSQ(Quantizer):
    """Every channel squashed by tanh and rounded; the channels together make one code, the first varying fastest.

    The gradient is straight-through the rounding only: it carries the slope of the tanh. No losses.
    Cosmos: ``channel_sizes=(8, 8, 8, 5, 5, 5)``, 64,000 codes.

    Args:
        dim: channels of the latents; wrap in ``Projected`` to quantize fewer than the encoder has.
        channel_sizes: values that each of the ``dim`` channels may take, at least 3 each.
    """

    def __init__(self, dim: int, channel_sizes: tuple[int, ...]) -> None:
        super().__init__()
        _check_sizes(dim, channel_sizes, least=3)
        self.dim = dim
        self.codebook_sizes = (math.prod(channel_sizes),)
        self.levels = (1,)
        self.rounding = _rounding(channel_sizes, symmetric=False)

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        return _forward(self.rounding, latents, levels, self.codebook_sizes)

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        return _forward(self.rounding, latents, levels, self.codebook_sizes).codes

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return self.rounding.indices_to_codes(codes[:, 0])


class SymmetricFSQ(Quantizer):
    """Every channel clipped to [-1, 1] and rounded to equally spaced values that include both ends.

    The symmetric form of https://arxiv.org/abs/2411.19842, section 3.2, without its tanh: the level of a residual FSQ,
    where ``ResidualStack`` bounds the latents once. With L values per channel its cells tile +-L / (L - 1), so that
    ``ResidualStack(..., shrink=1 / L, bound=L / (L - 1))`` nests them without gap. Gradient 1 within [-1, 1],
    0 outside. No losses.

    Args:
        dim: channels of the latents.
        channel_sizes: values that each of the ``dim`` channels may take, at least 2 each.
    """

    def __init__(self, dim: int, channel_sizes: tuple[int, ...]) -> None:
        super().__init__()
        _check_sizes(dim, channel_sizes, least=2)
        self.dim = dim
        self.codebook_sizes = (math.prod(channel_sizes),)
        self.levels = (1,)
        self.rounding = _rounding(channel_sizes, symmetric=True)

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        return _forward(self.rounding, latents, levels, self.codebook_sizes)

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        return _forward(self.rounding, latents, levels, self.codebook_sizes).codes

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return self.rounding.indices_to_codes(codes[:, 0])


def _rounding(channel_sizes: tuple[int, ...], symmetric: bool) -> ScalarQuantizer:
    wanted = torch.get_default_device()
    with torch.device("cpu"):  # the library reads its sizes back from tensors: those on the meta device hold none
        made = ScalarQuantizer(
            list(channel_sizes), channel_first=True, preserve_symmetry=symmetric, bound_hard_clamp=symmetric
        )
    return made.to(wanted)


def _check_sizes(dim: int, channel_sizes: tuple[int, ...], least: int) -> None:
    if len(channel_sizes) != dim:
        raise CodecError(f"{len(channel_sizes)} channel_sizes for {dim} latent channels: give one each, or Projected")
    if min(channel_sizes) < least or math.prod(channel_sizes) > MAX_CODES:
        raise CodecError(
            f"channel_sizes {tuple(channel_sizes)} must be {least} or more each and at most {MAX_CODES} codes together"
        )


def _forward(rounding: ScalarQuantizer, latents: Tensor, levels: int | None, sizes: tuple[int, ...]) -> Quantized:
    checked_levels(levels, 1)
    quantized, indices = rounding(at_least_float32(latents))
    codes = indices[:, None].long()
    return Quantized(quantized, codes, {}, codebook_statistics(codes, sizes))
