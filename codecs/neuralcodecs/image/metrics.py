"""Metrics of decoded pictures: on 8-bit RGB (or gray), rounded, whole and without padding, one value per picture."""

import math
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)
from torchmetrics.image.fid import FrechetInceptionDistance

from neuralcodecs.criteria import Metric, MetricFailure
from neuralcodecs.errors import CodecError
from neuralcodecs.image.files import from_bytes, to_bytes
from neuralcodecs.image.losses import LPIPS, load_weights
from neuralcodecs.medium import check_weights

PIXELS = "rounded 8-bit, whole picture, mean of per-picture values"
TORCHMETRICS = f"torchmetrics {version('torchmetrics')}"
BEST_PSNR = 100.0
INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
PATCH = 256
"""Side of the patches of a FID; the second grid is shifted by half of it."""
FEATURES = 2048
"""Of Inception; fewer patches leave its covariance singular."""


class PictureMetric(Metric):
    """A metric with one figure per picture."""

    names: tuple[str]

    def __call__(
        self, decoded: Float[Tensor, "c h w"], reference: Float[Tensor, "c h w"], rate: int
    ) -> dict[str, float]:
        figure = self.figure(*_checked(decoded, reference))
        if not math.isfinite(figure):
            raise MetricFailure(f"the result is {figure}")
        return {self.names[0]: figure}

    @abstractmethod
    def figure(self, decoded: UInt8[Tensor, "1 c h w"], reference: UInt8[Tensor, "1 c h w"]) -> float:
        """The figure of one picture; raises MetricFailure."""


class PSNR(PictureMetric):
    """Peak signal-to-noise ratio in dB over all channels, limited to 100 dB: equal pictures have 100, not infinity."""

    names = ("psnr",)
    higher_is_better = True
    definition = f"PSNR in dB, up to {BEST_PSNR:g} ({PIXELS}; {TORCHMETRICS})"

    def figure(self, decoded: UInt8[Tensor, "1 c h w"], reference: UInt8[Tensor, "1 c h w"]) -> float:
        if torch.equal(decoded, reference):
            return BEST_PSNR
        return min(peak_signal_noise_ratio(decoded.double(), reference.double(), data_range=255.0).item(), BEST_PSNR)


class SSIM(PictureMetric):
    """Structural similarity. https://doi.org/10.1109/TIP.2003.819861"""

    names = ("ssim",)
    higher_is_better = True
    definition = (
        f"SSIM per channel, Gaussian window 11, sigma 1.5, mirrored borders, float32 ({PIXELS}; {TORCHMETRICS})"
    )

    def figure(self, decoded: UInt8[Tensor, "1 c h w"], reference: UInt8[Tensor, "1 c h w"]) -> float:
        _at_least(11, decoded, "SSIM")
        return _value(structural_similarity_index_measure, decoded, reference)


class MSSSIM(PictureMetric):
    """Multi-scale structural similarity, five scales. https://doi.org/10.1109/ACSSC.2003.1292216"""

    names = ("ms_ssim",)
    higher_is_better = True
    definition = (
        "MS-SSIM per channel, 5 scales, Gaussian window 11, sigma 1.5, float32, sides of at least 176 pixels "
        f"({PIXELS}; {TORCHMETRICS})"
    )

    def figure(self, decoded: UInt8[Tensor, "1 c h w"], reference: UInt8[Tensor, "1 c h w"]) -> float:
        _at_least(176, decoded, "MS-SSIM")
        return _value(multiscale_structural_similarity_index_measure, decoded, reference)


class PictureLPIPS(PictureMetric):
    """LPIPS of whole pictures; arguments as of ``neuralcodecs.image.LPIPS``."""

    names = ("lpips",)
    higher_is_better = False

    def __init__(self, weights: str, network: Literal["vgg", "alex"] = "vgg") -> None:
        self._loss = LPIPS(weights, network)
        self.definition = (
            f"LPIPS 0.1, {network} ({Path(weights).name}), float32, no resize ({PIXELS}; lpips {version('lpips')})"
        )

    def figure(self, decoded: UInt8[Tensor, "1 c h w"], reference: UInt8[Tensor, "1 c h w"]) -> float:
        _at_least(self._loss.smallest, decoded, "LPIPS")
        with torch.no_grad():
            return self._loss(from_bytes(decoded), from_bytes(reference)).item()


class FID(Metric):
    """Frechet Inception distance between the patches of all originals and of all decodings.

    https://arxiv.org/abs/1706.08500; patches as in HiFiC (https://arxiv.org/abs/2006.09965): 256 x 256
    without overlap, once from the corner and once shifted by 128. Pictures of 256 x 256 are one patch each: the usual
    rFID. A figure of all files together; fewer than ``least`` patches give none.

    Args:
        weights: Inception of torch-fidelity, ``weights-inception-2015-12-05-6726825d.pth``.
        least: patches without which there is no figure; below 2048 the covariance is singular.

    Raises:
        CodecError: the file is missing, is not such weights, or ``torch-fidelity`` is not installed.
    """

    names = ("fid",)
    higher_is_better = False

    def __init__(self, weights: str, least: int = FEATURES) -> None:
        self.definition = (
            f"FID over {PATCH} x {PATCH} patches (HiFiC's two grids) of all files, at least {least}; rounded 8-bit, "
            f"against the originals' patches; Inception of {Path(weights).name}, float32, its own bilinear resize "
            f"to 299 x 299 ({TORCHMETRICS})"
        )
        self._inception = _inception(Path(weights))
        self._least = least
        self._distance = self._start()

    def _start(self) -> FrechetInceptionDistance:
        return FrechetInceptionDistance(feature=self._inception, normalize=False)

    def fresh(self) -> "FID":
        other = object.__new__(FID)
        other.__dict__ = self.__dict__ | {"_distance": self._start()}
        return other

    def __call__(
        self, decoded: Float[Tensor, "c h w"], reference: Float[Tensor, "c h w"], rate: int
    ) -> dict[str, float]:
        ours, theirs = _checked(decoded, reference)
        for real, picture in ((False, ours), (True, theirs)):
            for patch in patches(picture):
                self._distance.update(patch.expand(-1, 3, -1, -1), real=real)
        return {}

    def over_files(self) -> dict[str, float]:
        found = int(self._distance.real_features_num_samples)
        if found < self._least:
            raise MetricFailure(f"FID needs {self._least} patches of {PATCH} x {PATCH}, these files have {found}")
        return {"fid": self._distance.compute().item()}


def patches(picture: UInt8[Tensor, "1 c h w"]) -> Iterator[UInt8[Tensor, "1 c p p"]]:
    """Patches from the corner, then those shifted by half a patch along both axes."""
    height, width = picture.shape[2:]
    for shift in (0, PATCH // 2):
        for top in range(shift, height - PATCH + 1, PATCH):
            for left in range(shift, width - PATCH + 1, PATCH):
                yield picture[..., top : top + PATCH, left : left + PATCH]


def default_metrics(weights: Mapping[str, Path]) -> list[Metric]:
    """PSNR, SSIM and MS-SSIM; LPIPS (VGG) and FID where their weights are given."""
    check_weights(weights, ("lpips", "fid"))
    metrics: list[Metric] = [PSNR(), SSIM(), MSSSIM()]
    if "lpips" in weights:
        metrics.append(PictureLPIPS(str(weights["lpips"])))
    if "fid" in weights:
        metrics.append(FID(str(weights["fid"])))
    return metrics


def _checked(
    decoded: Float[Tensor, "c h w"], reference: Float[Tensor, "c h w"]
) -> tuple[UInt8[Tensor, "1 c h w"], UInt8[Tensor, "1 c h w"]]:
    """Both as a batch of 8-bit pixels."""
    if decoded.shape != reference.shape:
        raise ValueError(f"decoded {tuple(decoded.shape)} and reference {tuple(reference.shape)} differ in shape")
    for name, signal in (("decoded", decoded), ("reference", reference)):
        if not signal.isfinite().all():
            raise MetricFailure(f"the {name} picture holds infinite or undefined pixels")
    return to_bytes(decoded)[None], to_bytes(reference)[None]


def _at_least(side: int, picture: UInt8[Tensor, "1 c h w"], name: str) -> None:
    if min(picture.shape[2:]) < side:
        raise MetricFailure(f"{name}: the picture is smaller than {side} pixels")


def _value(measure: Callable[..., Tensor | tuple[Tensor, Tensor]], decoded: Tensor, reference: Tensor) -> float:
    # float32 differs from float64 by 1e-6 and is 15 to 40 times as fast
    value = measure(decoded.float(), reference.float(), data_range=255.0)
    assert isinstance(value, Tensor), "two only where asked for"
    return value.item()


def _inception(path: Path) -> nn.Module:
    remedy = f"download {INCEPTION} from https://github.com/toshas/torch-fidelity/releases/tag/v0.2.0 and give its path"
    state = load_weights(path, "FID", remedy)
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3
    except ImportError as error:
        raise CodecError(f"FID needs more packages: pip install 'neuralcodecs[perceptual]' ({error})") from error
    with tempfile.TemporaryDirectory() as folder:  # the package unpickles what it is given: give it what we wrote
        safe = Path(folder) / path.name
        torch.save(state, safe)
        try:
            return NoTrainInceptionV3("inception-v3-compat", [str(FEATURES)], str(safe))
        except ImportError as error:
            raise CodecError(f"FID needs more packages: pip install 'neuralcodecs[perceptual]' ({error})") from error
        except (RuntimeError, ModuleNotFoundError) as error:
            raise CodecError(f"FID: {path} holds no weights of this Inception: {remedy}") from error
