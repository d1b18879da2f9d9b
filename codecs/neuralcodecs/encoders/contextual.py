"""An encoder followed by a causal transformer (Mimi, https://arxiv.org/abs/2410.00037, section 3.3.1)."""

from jaxtyping import Float
from torch import Tensor

from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.layers import State, through
from neuralcodecs.layers.transformer import Transformer


class ContextualEncoder(Encoder):
    """Latents that know ``depth * context`` latents of the past.

        signal --encoder--> (b, dim, n) --Transformer--> (b, dim, n)

    Args:
        encoder: whose latents are mixed over time, on one axis.
        depth, heads, hidden, context, scale: as for ``Transformer``; defaults are Mimi's.
    """

    def __init__(
        self,
        encoder: Encoder,
        depth: int = 8,
        heads: int = 8,
        hidden: int = 2048,
        context: int = 250,
        scale: float = 0.01,
    ) -> None:
        super().__init__()
        self.channels, self.dim, self.strides = encoder.channels, encoder.dim, encoder.strides
        self.encoder = encoder
        self.transformer = Transformer(encoder.dim, depth, heads, hidden, context, scale)

    def forward(self, signal: Float[Tensor, "b c t"]) -> Float[Tensor, "b d n"]:
        return self.transformer(self.encoder(signal))

    def frames(self, shape: Shape) -> Shape:
        return self.encoder.frames(shape)

    def start(self, batch: int) -> State:
        return State(parts=tuple(part.start(batch) for part in (self.encoder, self.transformer)))

    def step(self, x: Float[Tensor, "b c t"], state: State, last: bool) -> tuple[Float[Tensor, "b d n"], State]:
        return through((self.encoder, self.transformer), x, state, last)

    def reach(self, position: int) -> int:
        return self.encoder.reach(self.transformer.reach(position))
