"""What quantizers share that are another one with something around it."""

from abc import ABC

from neuralcodecs.codec import Quantizer


class Wrapping(Quantizer, ABC):
    """A quantizer that learns as the one inside it does.

    ``quantizer``: the one inside; set by the constructor.
    """

    quantizer: Quantizer

    @property
    def settled(self) -> bool:
        return self.quantizer.settled

    def update(self) -> None:
        self.quantizer.update()

    def discard(self) -> None:
        self.quantizer.discard()
