"""Any quantizer in a space of other width: the factorised codebooks of ViT-VQGAN and DAC, the heads of FSQ and LFQ."""

from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from neuralcodecs.codec import Quantized, QuantizerFactory
from neuralcodecs.quantizers.numerics import at_least_float32
from neuralcodecs.quantizers.search import exact_products
from neuralcodecs.quantizers.wrapping import Wrapping


class Projected(Wrapping):
    """A linear map of the channels before a quantizer and another one after it.

        latents (b, dim) --inward--> (b, code_dim) --quantizer--> (b, code_dim) --outward--> (b, dim)

    Codes, losses, levels and statistics are the inner quantizer's; its losses are taken in the inner space. The
    gradient at the latents passes both maps, straight-through in between.

    Args:
        dim: channels of the latents.
        quantizer: called with ``code_dim``.
        code_dim: channels in which to quantize.
        bias: of both maps; Mimi's have none.
    """

    made_by_codec = {"quantizer": ("dim",)}

    def __init__(self, dim: int, quantizer: QuantizerFactory, code_dim: int, bias: bool = True) -> None:
        super().__init__()
        self.dim = dim
        self.inward = nn.Linear(dim, code_dim, bias)
        self.quantizer = quantizer(code_dim)
        self.outward = nn.Linear(code_dim, dim, bias)
        if bias:  # as published: the direction of a fresh encoder's quiet latents is then their own
            nn.init.zeros_(self.inward.bias)
            nn.init.zeros_(self.outward.bias)
        self.codebook_sizes = self.quantizer.codebook_sizes
        self.levels = self.quantizer.levels

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        inner = self.quantizer(map_channels(self.inward, latents), levels)
        return inner._replace(latents=map_channels(self.outward, inner.latents))

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        return self.quantizer.encode(map_channels(self.inward, latents), levels)

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return map_channels(self.outward, self.quantizer.decode(codes))


def map_channels(layer: nn.Linear, latents: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b e *grid"]:
    """A 1 x 1 convolution over any number of axes, in full precision whatever autocast says."""
    with exact_products(latents.device):
        bias = None if layer.bias is None else at_least_float32(layer.bias)
        mapped = functional.linear(at_least_float32(latents).movedim(1, -1), at_least_float32(layer.weight), bias)
    return mapped.movedim(-1, 1)
