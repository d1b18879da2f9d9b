"""What quantizers share that are another one with something around it."""

from abc import ABC
from collections.abc import Sequence

from jaxtyping import Float, Int64
from torch import Tensor

from neuralcodecs.codec import Distortion, Quantizer
from neuralcodecs.codes import Layout, Shape
from neuralcodecs.stream_coder import StreamCoders


class Wrapping(Quantizer, ABC):
    """A quantizer that learns as the one inside it does, at the same levels.

    ``quantizer``: the one inside; set by the constructor.
    """

    quantizer: Quantizer

    @property
    def most_levels(self) -> int:
        return self.quantizer.most_levels

    def alphabet(self, levels: int) -> Shape:
        return self.quantizer.alphabet(levels)

    @property
    def settled(self) -> bool:
        return self.quantizer.settled

    def update(self) -> None:
        self.quantizer.update()

    def discard(self) -> None:
        self.quantizer.discard()

    def widen(self, paths: int) -> None:
        self.quantizer.widen(paths)


class Transparent(Wrapping, ABC):
    """One that also codes as the one inside it does, side streams and captions included."""

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.dim, self.codebook_sizes, self.levels = quantizer.dim, quantizer.codebook_sizes, quantizer.levels
        self.longest_caption = quantizer.longest_caption

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        return self.quantizer.encode(latents, levels)

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        return self.quantizer.decode(codes)

    def side_streams(self, grid: Shape) -> tuple[Layout, ...]:
        return self.quantizer.side_streams(grid)

    def encode_streams(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> tuple[Tensor, ...]:
        return self.quantizer.encode_streams(latents, levels)

    def decode_streams(self, streams: tuple[Tensor, ...]) -> Float[Tensor, "b d *grid"]:
        return self.quantizer.decode_streams(streams)

    def refine(
        self, latents: Float[Tensor, "b d *grid"], distortion: Distortion, steps: int, levels: int | None = None
    ) -> tuple[Tensor, ...]:
        return self.quantizer.refine(latents, distortion, steps, levels)

    def tell(self, latents: Float[Tensor, "b d *grid"], captions: Sequence[bytes]) -> Float[Tensor, "b d *grid"]:
        return self.quantizer.tell(latents, captions)

    def coders(self) -> StreamCoders:
        return self.quantizer.coders()
