"""Large pictures in bounded memory: networks see overlapping tiles, of whose output only the middles are kept.

Equal to the untiled codec, but for float rounding, where the networks are local: no normalisation over positions, no
attention, and a receptive field within the margin on either side. Group norms (all of WeTok's kind) see the statistics
of a tile instead of the picture's: then the result is another one, and tiles may show.
"""

from itertools import product
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from neuralcodecs.codec import Codec, Decoder, Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.pieces import crop


class Window(NamedTuple):
    """Along one axis: the network sees ``start`` to ``stop``, and ``first`` to ``last`` of its output are kept."""

    start: int
    stop: int
    first: int
    last: int


def windows(length: int, tile: int, margin: int) -> list[Window]:
    """Windows of at most ``tile + 2 * margin`` whose kept parts, ``tile`` long, cover ``length``."""
    firsts = range(0, length, tile)
    return [Window(max(0, f - margin), min(length, f + tile + margin), f, min(length, f + tile)) for f in firsts]


class TiledEncoder(Encoder):
    """``encoder`` on tiles of ``tile`` grid positions and ``margin`` more on either side, along every axis."""

    def __init__(self, encoder: Encoder, tile: int, margin: int) -> None:
        super().__init__()
        if set(encoder.frames(encoder.strides)) != {1} or len(encoder.frames(encoder.strides)) != len(encoder.strides):
            raise CodecError("this encoder makes a fixed number of tokens of a tile: it needs no other tiles")
        self.channels, self.dim, self.strides = encoder.channels, encoder.dim, encoder.strides
        self.encoder, self.tile, self.margin = encoder, tile, margin

    def forward(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b d *grid"]:
        grid = self.frames(tuple(signal.shape[2:]))
        output = signal.new_empty((len(signal), self.dim, *grid))
        for box in product(*(windows(n, self.tile, self.margin) for n in grid)):
            seen = tuple((w.start * s, w.stop * s) for w, s in zip(box, self.strides, strict=True))
            part = crop(self.encoder(crop(signal, seen)), tuple((w.first - w.start, w.last - w.start) for w in box))
            crop(output, tuple((w.first, w.last) for w in box)).copy_(part)
        return output

    def frames(self, shape: Shape) -> Shape:
        return self.encoder.frames(shape)


class TiledDecoder(Decoder):
    """``decoder`` on tiles of ``tile`` grid positions and ``margin`` more on either side, along every axis."""

    def __init__(self, decoder: Decoder, channels: int, strides: Shape, tile: int, margin: int) -> None:
        super().__init__()
        self.decoder, self.channels, self.strides, self.tile, self.margin = decoder, channels, strides, tile, margin

    def forward(self, latents: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b c *space"]:
        grid = tuple(latents.shape[2:])
        size = tuple(n * s for n, s in zip(grid, self.strides, strict=True))
        output = latents.new_empty((len(latents), self.channels, *size))
        for box in product(*(windows(n, self.tile, self.margin) for n in grid)):
            part = self.decoder(crop(latents, tuple((w.start, w.stop) for w in box)))
            pairs = list(zip(box, self.strides, strict=True))
            kept = tuple(((w.first - w.start) * s, (w.last - w.start) * s) for w, s in pairs)
            crop(output, tuple((w.first * s, w.last * s) for w, s in pairs)).copy_(crop(part, kept))
        return output


def tiled(codec: Codec, size: int) -> Codec:
    """The codec with networks that see ``size`` pixels (samples) and a quarter more on either side at once.

    It shares all parts and weights with ``codec``, whose files it reads and writes. Raises CodecError for a codec that
    cuts its signals itself, and for a size below one grid position.
    """
    if codec.segmenter is not None:
        raise CodecError("this codec cuts its signals itself: leave out --tile")
    if codec.decoder.sampling is not None:
        raise CodecError("the tiles of a generative decoder would not fit each other: leave out --tile")
    tile = size // max(codec.encoder.strides)
    if tile < 1:
        raise CodecError(
            f"tiles of {size} are smaller than the codec's stride {max(codec.encoder.strides)}: enlarge them"
        )
    margin = -(-tile // 4)
    encoder = TiledEncoder(codec.encoder, tile, margin)
    decoder = TiledDecoder(codec.decoder, codec.encoder.channels, codec.encoder.strides, tile, margin)
    return codec.with_networks(encoder, decoder)
