"""Image edges: files, datasets, losses, discriminators, metrics."""

from neuralcodecs.image.losses import L1, LPIPS, MSE
from neuralcodecs.image.medium import Image
from neuralcodecs.image.tiles import Tiles

__all__ = ["L1", "LPIPS", "MSE", "Image", "Tiles"]
