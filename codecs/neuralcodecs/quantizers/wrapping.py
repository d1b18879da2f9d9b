"""What quantizers share that are another one with something around it."""

from abc import ABC

from jaxtyping import Float, Int64
from torch import Tensor

from neuralcodecs.codec import Quantizer


class Wrapping(Quantizer, ABC):
    """A quantizer that learns as the one inside it does, and unless it says otherwise codes as that does.

    ``quantizer``: the one inside; set by the constructor.
    """

    quantizer: Quantizer

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        return self.quantizer.encode(latents, levels)

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return self.quantizer.decode(codes)

    @property
    def settled(self) -> bool:
        return self.quantizer.settled

    def update(self) -> None:
        self.quantizer.update()

    def discard(self) -> None:
        self.quantizer.discard()
