"""Images at the edges of a codec."""

from neuralcodecs.image.tiles import Tiles

__all__ = ["Tiles"]
