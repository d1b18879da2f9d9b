"""A decoder after a causal transformer (Mimi, https://arxiv.org/abs/2410.00037, section 3.3.1)."""

from jaxtyping import Float
from torch import Tensor

from neuralcodecs.codec import Decoder, DecoderFactory
from neuralcodecs.codes import Shape
from neuralcodecs.layers import State, through
from neuralcodecs.layers.transformer import Transformer


class ContextualDecoder(Decoder):
    """Latents that know their past, decoded.

        (b, dim, n) --Transformer--> (b, dim, n) --decoder--> signal

    Args:
        dim, channels, strides: those of the decoder.
        decoder: called with them.
        depth, heads, hidden, context, scale: as for ``Transformer``; defaults are Mimi's.
    """

    made_by_codec = {"decoder": ("dim", "channels", "strides")}

    def __init__(
        self,
        dim: int,
        channels: int,
        strides: Shape,
        decoder: DecoderFactory,
        depth: int = 8,
        heads: int = 8,
        hidden: int = 2048,
        context: int = 250,
        scale: float = 0.01,
    ) -> None:
        super().__init__()
        self.transformer = Transformer(dim, depth, heads, hidden, context, scale)
        self.decoder = decoder(dim, channels, strides)

    def forward(self, latents: Float[Tensor, "b d n"]) -> Float[Tensor, "b c t"]:
        return self.decoder(self.transformer(latents))

    def start(self, batch: int) -> State:
        return State(parts=tuple(part.start(batch) for part in (self.transformer, self.decoder)))

    def step(self, x: Float[Tensor, "b d t"], state: State, last: bool) -> tuple[Float[Tensor, "b c n"], State]:
        return through((self.transformer, self.decoder), x, state, last)

    def reach(self, position: int) -> int:
        return self.transformer.reach(self.decoder.reach(position))
