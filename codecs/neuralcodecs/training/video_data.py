"""Video for training: folders and manifests of files as batches of clips."""

from torch import Tensor
from torch.utils.data import Dataset

from neuralcodecs.errors import CodecError
from neuralcodecs.sources import Entry, Source
from neuralcodecs.training.data import Examples, Loading, SignalDataModule
from neuralcodecs.video.dataset import VideoCentres, VideoClips, scan
from neuralcodecs.video.medium import Video

DEFAULT_LOADING = Loading()


class VideoDataModule(SignalDataModule):
    """Random resized and flipped clips for training, the middle of each file's first frames for validation.

    Args:
        train: folders, manifests, or ``Source`` objects with weight, kind and split.
        val: the same; also what ``test`` runs on.
        frames: of a clip.
        size: of its sides, in pixels.
        batch_size: clips per process and step; also of validation.
        scale: smallest and largest side of a square, relative to the shorter side of its video.
        loading: workers, seed, cache, tolerance of bad files.
    """

    unit = "pixels"
    suffixes = Video.suffixes

    def __init__(
        self,
        train: list[str | Source],
        val: list[str | Source],
        frames: int = 16,
        size: int = 128,
        batch_size: int = 4,
        scale: tuple[float, float] = (0.5, 1.0),
        loading: Loading = DEFAULT_LOADING,
    ) -> None:
        super().__init__(train, val, batch_size, loading)
        if size < 1 or frames < 1:
            raise CodecError(f"{frames} frames of size {size}: give at least 1")
        if not 0 < scale[0] <= scale[1] <= 1:
            raise CodecError(f"scale {scale}: give the smallest share of the shorter side first, both in (0, 1]")
        self.medium = Video()
        self.frames, self.size, self.scale = frames, size, scale

    def training_examples(self, found: list[Entry]) -> tuple[Examples, list[str]]:
        videos, failed = scan(found)
        self.stop_if_none(len(videos), failed)
        return VideoClips(videos, self.frames, self.size, self.scale, self.loading.cache), failed

    def validation_examples(self, found: list[Entry]) -> tuple[Dataset[Tensor], list[str]]:
        videos, failed = scan(found)
        centres = VideoCentres(videos, self.frames, self.size)
        usable, broken = self.readable(list(range(len(videos))), centres.__getitem__)
        failed += broken
        self.stop_if_none(len(usable), failed)
        return VideoCentres([videos[number] for number in usable], self.frames, self.size), failed

    def extent(self, shape: tuple[int, ...]) -> float:
        """Pixels of all frames."""
        return self.medium.extent(shape)
