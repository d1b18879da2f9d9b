"""Pictures for training: folders and manifests of files as batches of crops."""

from torch import Tensor
from torch.utils.data import Dataset

from neuralcodecs.errors import CodecError
from neuralcodecs.image.dataset import ImageCrops, ImageSquares, scan
from neuralcodecs.image.medium import Image
from neuralcodecs.sources import Entry, Source
from neuralcodecs.training.data import Examples, Loading, SignalDataModule

DEFAULT_LOADING = Loading()


class ImageDataModule(SignalDataModule):
    """Random resized and flipped crops for training, the middle square of each file for validation.

    Args:
        train: folders, manifests, or ``Source`` objects with weight, kind and split.
        val: the same; also what ``test`` runs on.
        size: of crops and squares, in pixels.
        batch_size: crops per process and step; also of validation.
        channels: of the codec, 3 or 1.
        scale: smallest and largest side of a crop, relative to the shorter side of its picture; [1, 1] takes the
            largest square at a random place.
        loading: workers, seed, cache, tolerance of bad files.
    """

    unit = "pixels"
    suffixes = Image.suffixes

    def __init__(
        self,
        train: list[str | Source],
        val: list[str | Source],
        size: int = 256,
        batch_size: int = 16,
        channels: int = 3,
        scale: tuple[float, float] = (0.5, 1.0),
        loading: Loading = DEFAULT_LOADING,
    ) -> None:
        super().__init__(train, val, batch_size, loading)
        if size < 1:
            raise CodecError(f"size {size}: give at least 1 pixel")
        if not 0 < scale[0] <= scale[1] <= 1:
            raise CodecError(f"scale {scale}: give the smallest share of the shorter side first, both in (0, 1]")
        self.medium = Image(channels)
        self.size = size
        self.scale = scale

    def training_examples(self, found: list[Entry]) -> tuple[Examples, list[str]]:
        images, failed = scan(found)
        self.stop_if_none(len(images), failed)
        return ImageCrops(images, self.medium.channels, self.size, self.scale, self.loading.cache), failed

    def validation_examples(self, found: list[Entry]) -> tuple[Dataset[Tensor], list[str]]:
        images, failed = scan(found)
        squares = ImageSquares(images, self.medium.channels, self.size)
        usable, broken = self.readable(list(range(len(images))), squares.__getitem__)
        failed += broken
        self.stop_if_none(len(usable), failed)
        return ImageSquares([images[number] for number in usable], self.medium.channels, self.size), failed

    def extent(self, shape: tuple[int, ...]) -> float:
        """Pixels."""
        return self.medium.extent(shape)
