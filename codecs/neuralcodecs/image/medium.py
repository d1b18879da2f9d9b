"""Pictures as the medium of a codec: files, pixels, bits per pixel, and what people are shown."""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.criteria import Metric
from neuralcodecs.errors import CodecError
from neuralcodecs.image import files
from neuralcodecs.medium import Medium, SignalInfo, Writer

SHOWN = 512
"""Longest side of a picture that is shown to people, in pixels: its middle at full resolution."""
GAIN = 4.0
"""By which differences are multiplied to be seen."""


class Image(Medium):
    """Pictures in [-1, 1], ``(channels, height, width)``.

    Files of any mode and of any size from 1 x 1 are converted by the rule of ``neuralcodecs.image.files``; decoding
    writes PNG of exactly the original's size, gray where the original was.

    Args:
        channels: 3 for RGB, 1 for gray.
    """

    unit = "bit/pixel"
    speed_unit = "Mpixel/s"
    suffixes = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
    rate = 0

    def __init__(self, channels: int = 3) -> None:
        if channels not in files.MODE_OF:
            raise CodecError(f"channels {channels}: give 3 for RGB or 1 for gray")
        self.channels = channels

    def info(self, path: Path) -> SignalInfo:
        """What the file's header says, without decoding."""
        return files.info(path)

    def read(self, path: Path) -> tuple[Float[Tensor, "c h w"], SignalInfo]:
        return files.read(path, self.channels)

    def write(self, path: Path, signal: Float[Tensor, "c h w"], original: SignalInfo) -> None:
        """8-bit PNG, rounded and clipped, gray where the original was; raises CodecError unless the sizes agree."""
        if tuple(signal.shape[1:]) != original.shape:
            raise CodecError(f"{path}: decoded {tuple(signal.shape[1:])} pixels of an original of {original.shape}")
        pixels = signal.detach().cpu().float()
        files.write(path, luma(pixels) if original.channels == 1 else pixels)

    def check_original(self, name: str, shape: tuple[int, ...], original: SignalInfo) -> None:
        if (original.rate, original.shape) != (0, shape) or original.channels not in files.MODE_OF:
            raise CodecError(
                f"{name}: an original of {original.channels} x {original.shape} for a picture of {shape}: it is forged"
            )

    def caption(self, path: Path) -> str:
        return files.caption(path)

    def extent(self, shape: tuple[int, ...]) -> float:
        """Pixels."""
        return float(shape[0] * shape[1])

    def bitrate(self, bits: float, shape: tuple[int, ...]) -> float:
        return bits / self.extent(shape)

    def speed(self, extent: float, seconds: float) -> float:
        return extent / seconds / 1e6

    def metrics(self, weights: Mapping[str, Path] | None = None) -> list[Metric]:
        """PSNR, SSIM, MS-SSIM; LPIPS with ``weights["lpips"]``, FID with ``weights["fid"]``."""
        from neuralcodecs.image.metrics import default_metrics  # its packages are slow to import

        return default_metrics(weights or {})

    def further_metrics(self) -> tuple[list[Metric], dict[str, str]]:
        """VIF, FSIM, GMSD, MDSI and HaarPSI."""
        from neuralcodecs.image.further_metrics import further_metrics

        return further_metrics()

    def picture(self, signal: Float[Tensor, "c h w"]) -> Float[Tensor, "3 height width"]:
        """The middle of the picture at full resolution, at most 512 x 512."""
        height, width = (min(SHOWN, n) for n in signal.shape[1:])
        top, left = ((n - m) // 2 for n, m in zip(signal.shape[1:], (height, width), strict=True))
        middle = signal[:, top : top + height, left : left + width].detach().cpu().float()
        return ((middle.clamp(-1, 1) + 1) / 2).expand(3, -1, -1).clone()

    def difference(
        self, decoded: Float[Tensor, "c h w"], original: Float[Tensor, "c h w"]
    ) -> Float[Tensor, "3 height width"]:
        """Four times the difference of the two pictures, around middle gray."""
        return (0.5 + GAIN * (self.picture(decoded) - self.picture(original))).clamp(0, 1)

    def show(self, writer: Writer, tag: str, signal: Float[Tensor, "c h w"], step: int) -> None:
        """The middle of the picture."""
        writer.add_image(tag, self.picture(signal), step)


def luma(signal: Float[Tensor, "c h w"]) -> Float[Tensor, "1 h w"]:
    """ITU-R BT.601 luma of RGB; gray as it is."""
    if len(signal) == 1:
        return signal
    return torch.einsum("chw,c->hw", signal, signal.new_tensor([0.299, 0.587, 0.114]))[None]
