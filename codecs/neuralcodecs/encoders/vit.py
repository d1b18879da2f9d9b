"""ViT encoder of TiTok (https://arxiv.org/abs/2406.07550): a picture becomes a list of K tokens."""

import math

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import CONVS, EMBEDDING_STD, keep_variance, linear, pad_to, patch_grid, vit_blocks


class ViTEncoder(Encoder):
    """Signal of at most ``size`` to latents ``(b, dim, tokens)``.

        patches + positions, latent tokens + positions -> transformer -> the latent tokens -> Linear

    A smaller signal is padded at its far ends by repeating its last values; larger ones need a ``Tiles`` segmenter of
    this size in the codec. The strides are the size: what one list of tokens stands for.
    Fresh weights keep the variance of the signal (``vit_blocks`` says how).

    TiTok-B-64: ``dim=12, tokens=64``; -S-128: ``tokens=128, width=512, depth=8, heads=8``;
    -L-32: ``tokens=32, width=1024, depth=24, heads=16``.

    Args:
        channels: of the signal.
        dim: of the latents.
        size: of the signal along each axis, a multiple of ``patch``.
        patch: along every axis.
        tokens: latent tokens, K.
        width, depth, heads: of the transformer.
    """

    def __init__(
        self,
        channels: int = 3,
        dim: int = 12,
        size: tuple[int, ...] = (256, 256),
        patch: int = 16,
        tokens: int = 64,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
    ) -> None:
        super().__init__()
        self.channels, self.dim, self.strides, self.tokens = channels, dim, tuple(size), tokens
        count = math.prod(patch_grid(self.strides, patch))
        self.embed = keep_variance(CONVS[len(size)](channels, width, patch, patch))
        self.positions = nn.Parameter(EMBEDDING_STD * torch.randn(count + tokens, width))
        self.latent_tokens = nn.Parameter(EMBEDDING_STD * torch.randn(tokens, width))
        self.transformer = vit_blocks(width, depth, heads)
        self.last = linear(width, dim)

    def forward(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b d k"]:
        self.frames(tuple(signal.shape[2:]))
        embedded = rearrange(self.embed(pad_to(signal, self.strides)).flatten(2), "b c n -> b n c")
        tokens = repeat(self.latent_tokens, "k c -> b k c", b=len(signal))
        output = self.transformer(torch.cat([embedded, tokens], dim=1) + self.positions)
        return rearrange(self.last(output[:, -self.tokens :]), "b k d -> b d k")

    def frames(self, shape: Shape) -> Shape:
        """``(tokens,)``, whatever the shape; raises CodecError when it is larger than the size."""
        if len(shape) != len(self.strides) or any(n > most for n, most in zip(shape, self.strides, strict=True)):
            raise CodecError(
                f"a signal of shape {tuple(shape)} does not fit an encoder of size {self.strides}: "
                "give the codec a Tiles segmenter of that size"
            )
        return (self.tokens,)
