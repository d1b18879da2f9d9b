"""Conditioners of latents that carry a caption in their last channels (``quantizers.captioned``)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.captions import hear
from neuralcodecs.codes import Shape
from neuralcodecs.decoders.condition import Condition, Conditioner, ConditionerFactory, Widths, positions
from neuralcodecs.layers.vit import EMBEDDING_STD, vit_blocks

BYTES = 256


class CaptionTokens(Conditioner):
    """A token for every byte of the caption, after a transformer has read it; zeros where there is no byte.

    Without a caption all tokens are zeros: what the network sees that learns, or is guided, without one.

    Args:
        dim, strides: of the latents.
        longest: bytes of the longest caption: the last channels of the latents.
        width: of the tokens.
        depth: layers of the transformer.
        heads: of each; they divide the width.
    """

    def __init__(
        self, dim: int, strides: Shape, longest: int = 256, width: int = 256, depth: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        self.strides, self.widths, self.longest = tuple(strides), Widths(tokens=width), longest
        self.letters = nn.Embedding(BYTES, width, padding_idx=0)
        nn.init.normal_(self.letters.weight[1:].detach(), std=EMBEDDING_STD)
        self.blocks = vit_blocks(width, depth, heads)

    def forward(self, latents: Float[Tensor, "b d *grid"], sizes: Sequence[Shape]) -> Condition:
        letters = hear(latents, self.longest)
        tokens = self.letters(letters)
        there = (letters > 0).to(tokens)[..., None]
        placed = (tokens + EMBEDDING_STD * positions((self.longest,), tokens.shape[-1], tokens)) * there
        return Condition(tokens=self.blocks(placed) * there)


class Uncaptioned(Conditioner):
    """What another conditioner makes of the latents without the caption.

    Args:
        dim, strides: of the latents.
        conditioner: called with ``dim - longest, strides``.
        longest: bytes of the longest caption.
    """

    made_by_codec = {"conditioner": ("dim", "strides")}

    def __init__(self, dim: int, strides: Shape, conditioner: ConditionerFactory, longest: int = 256) -> None:
        super().__init__()
        self.longest = longest
        self.conditioner = conditioner(dim - longest, strides)
        self.strides, self.widths = self.conditioner.strides, self.conditioner.widths

    def forward(self, latents: Float[Tensor, "b d *grid"], sizes: Sequence[Shape]) -> Condition:
        return self.conditioner(latents[:, : -self.longest], sizes)

    def extent(self, grid: Shape) -> Shape:
        return self.conditioner.extent(grid)
