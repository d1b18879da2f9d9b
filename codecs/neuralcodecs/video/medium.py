"""Clips as the medium of a codec: files, pixels of all frames, bits per pixel, and what people are shown."""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.criteria import Metric
from neuralcodecs.errors import CodecError
from neuralcodecs.image.medium import Image
from neuralcodecs.medium import Medium, SignalInfo, Writer, check_weights
from neuralcodecs.video import files


class Video(Medium):
    """Clips in [-1, 1], ``(3, frames, height, width)``, of any size; files by the rule of ``neuralcodecs.video.files``.

    A signal has no rate of its own: its frames are those of the file, however far apart. ``SignalInfo.rate`` of a file
    is in frames per 1000 seconds. Decoding writes MP4 by default.
    """

    unit = "bit/pixel"
    speed_unit = "Mpixel/s"
    suffixes = tuple(files.DEMUXERS)
    rate = 0
    channels = 3

    def info(self, path: Path) -> SignalInfo:
        """What the file's packets say, without decoding."""
        return files.info(path)

    def read(self, path: Path) -> tuple[Float[Tensor, "3 t h w"], SignalInfo]:
        return files.read(path)

    def write(self, path: Path, signal: Float[Tensor, "3 t h w"], original: SignalInfo) -> None:
        """At the original's rate; raises CodecError unless the sizes agree."""
        if tuple(signal.shape[1:]) != original.shape:
            raise CodecError(f"{path}: decoded {tuple(signal.shape[1:])} pixels of an original of {original.shape}")
        files.write(path, signal, original.rate)

    def check_original(self, name: str, shape: tuple[int, ...], original: SignalInfo) -> None:
        if (original.channels, original.shape) != (3, shape) or not 1 <= original.rate <= files.MAX_RATE:
            raise CodecError(
                f"{name}: an original of {original.channels} x {original.shape} at {original.rate} frames per 1000 s "
                f"for a clip of {shape}: it is forged"
            )

    def extent(self, shape: tuple[int, ...]) -> float:
        """Pixels of all frames."""
        frames, height, width = shape
        return float(frames * height * width)

    def bitrate(self, bits: float, shape: tuple[int, ...]) -> float:
        return bits / self.extent(shape)

    def speed(self, extent: float, seconds: float) -> float:
        return extent / seconds / 1e6

    def metrics(self, weights: Mapping[str, Path] | None = None) -> list[Metric]:
        """PSNR and SSIM, means over frames."""
        from neuralcodecs.video.metrics import default_metrics  # its packages are slow to import

        check_weights(weights or {})
        return default_metrics()

    def picture(self, signal: Float[Tensor, "3 t h w"]) -> Float[Tensor, "3 height width"]:
        """The first, the middle and the last frame beside each other, as pictures are shown."""
        last = signal.shape[1] - 1
        chosen = [signal[:, index] for index in sorted({0, last // 2, last})]
        return torch.cat([Image().picture(frame) for frame in chosen], dim=2)

    def difference(
        self, decoded: Float[Tensor, "3 t h w"], original: Float[Tensor, "3 t h w"]
    ) -> Float[Tensor, "3 height width"]:
        """Four times the difference of what ``picture`` shows, around middle gray."""
        return (0.5 + 4 * (self.picture(decoded) - self.picture(original))).clamp(0, 1)

    def show(self, writer: Writer, tag: str, signal: Float[Tensor, "3 t h w"], step: int) -> None:
        """Three frames."""
        writer.add_image(tag, self.picture(signal), step)
