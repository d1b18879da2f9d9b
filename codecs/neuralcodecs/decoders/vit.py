"""ViT decoder of TiTok (https://arxiv.org/abs/2406.07550): K tokens turn mask tokens into patches of a picture."""

import math

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Decoder
from neuralcodecs.codes import Shape
from neuralcodecs.layers import CONVS, EMBEDDING_STD, keep_variance, linear, patch_grid, vit_blocks


class ViTDecoder(Decoder):
    """Latents ``(b, dim, tokens)`` to a signal of exactly the strides' size, not clamped.

        mask tokens + positions, Linear(latents) + positions -> transformer -> the mask tokens -> Linear to patches
        -> plus Conv 3 of the whole, which starts at zero and may smooth what lies between patches

    Args:
        dim: of the latents.
        channels: of the signal.
        strides: size of the signal, as the ``ViTEncoder`` declares it.
        patch, tokens, width, depth, heads: as for ``ViTEncoder``; all but the tokens may differ from it.
    """

    def __init__(
        self,
        dim: int,
        channels: int,
        strides: Shape,
        patch: int = 16,
        tokens: int = 64,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
    ) -> None:
        super().__init__()
        axes = len(strides)
        self.channels, self.patch = channels, patch
        self.grid = patch_grid(strides, patch)
        self.count = math.prod(self.grid)
        self.first = linear(dim, width)
        self.positions = nn.Parameter(EMBEDDING_STD * torch.randn(self.count + tokens, width))
        self.mask_token = nn.Parameter(EMBEDDING_STD * torch.randn(width))
        self.transformer = vit_blocks(width, depth, heads)
        self.to_patches = linear(width, channels * patch**axes)
        self.smooth = keep_variance(CONVS[axes](channels, channels, 3, padding=1), 0.0)

    def forward(self, latents: Float[Tensor, "b d k"]) -> Float[Tensor, "b c *space"]:
        masks = repeat(self.mask_token, "c -> b n c", b=len(latents), n=self.count)
        tokens = self.first(rearrange(latents, "b d k -> b k d"))
        output = self.transformer(torch.cat([masks, tokens], dim=1) + self.positions)
        signal = self._unfold(self.to_patches(output[:, : self.count]))
        return signal + self.smooth(signal)

    def _unfold(self, patches: Float[Tensor, "b n p"]) -> Float[Tensor, "b c *space"]:
        names = range(len(self.grid))
        grid, inside = (" ".join(f"{letter}{i}" for i in names) for letter in ("g", "p"))
        space = " ".join(f"(g{i} p{i})" for i in names)
        sizes = {f"g{i}": n for i, n in enumerate(self.grid)} | {f"p{i}": self.patch for i in names}
        return rearrange(patches, f"b ({grid}) (c {inside}) -> b c {space}", **sizes)
