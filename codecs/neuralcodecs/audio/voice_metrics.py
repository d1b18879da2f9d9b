"""Metrics of speech that packages beyond the usual ones compute: pitch, mel cepstrum, a network's opinion.

All are optional: ``pip install 'neuralcodecs[judge]'``.
"""

import math
from importlib.metadata import version

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from neuralcodecs.audio.metrics import ChannelMetric, ViSQOL, require_sound, resampled
from neuralcodecs.criteria import Metric, MetricFailure
from neuralcodecs.errors import CodecError

RATE = 16_000
LEAST_VOICED = 20
"""Frames of 5 ms that must be voiced in both signals: a correlation of fewer says nothing."""
ORDER = 24
WARP = 0.42
"""Of the frequency axis towards mel at 16 kHz. https://doi.org/10.1109/ICASSP.1992.225953"""
FLOOR_DB = 60.0
"""Frames so far below the loudest one of the reference are pauses, which a cepstrum does not describe."""


class F0Correlation(ChannelMetric):
    """Pearson correlation of the pitch in Hz over frames that are voiced in both signals, -1 to 1."""

    names = ("f0_correlation",)
    higher_is_better = True

    def __init__(self) -> None:
        self.definition = (
            f"Pearson correlation of F0 in Hz over frames voiced in both, at least {LEAST_VOICED}; DIO and StoneMask, "
            f"5 ms, 16 kHz (pyworld {_version('pyworld')})"
        )

    def figure(self, decoded: Float[Tensor, " t"], reference: Float[Tensor, " t"], rate: int) -> float:
        ours, theirs = (_pitch(_voice(x, rate))[0] for x in (decoded, reference))
        both = (ours > 0) & (theirs > 0)
        if both.sum() < LEAST_VOICED:
            raise MetricFailure(f"F0: fewer than {LEAST_VOICED} frames are voiced in both signals")
        if min(ours[both].std(), theirs[both].std()) < 1e-9:
            raise MetricFailure("F0: the pitch is constant")
        return float(np.corrcoef(ours[both], theirs[both])[0, 1])


class MelCepstralDistortion(ChannelMetric):
    """Distance of mel cepstra in dB, frame by frame. https://doi.org/10.1109/PACRIM.1993.407206"""

    names = ("mcd",)
    higher_is_better = False

    def __init__(self) -> None:
        self.definition = (
            f"mel-cepstral distortion in dB, coefficients 1 to {ORDER} of CheapTrick's envelope warped by {WARP}, "
            f"5 ms, 16 kHz, no warping in time, frames within {FLOOR_DB:g} dB of the loudest "
            f"(pyworld {_version('pyworld')})"
        )

    def figure(self, decoded: Float[Tensor, " t"], reference: Float[Tensor, " t"], rate: int) -> float:
        ours, theirs = (_envelope(_voice(x, rate)) for x in (decoded, reference))
        loudness = 10 * np.log10(theirs.sum(axis=1))
        loud = loudness > loudness.max() - FLOOR_DB
        difference = mel_cepstrum(ours[loud]) - mel_cepstrum(theirs[loud])
        return float(np.mean(10 / math.log(10) * np.sqrt(2 * (difference**2).sum(axis=1))))


class DNSMOS(Metric):
    """What a network thinks of the decoding alone, 1 to 5. https://arxiv.org/abs/2110.01763

    ``sig``, ``bak`` and ``ovrl`` of P.835 and ``p808``. The weights are inside the package. Mean over windows of 9 s,
    1 s apart; shorter signals are repeated to 9 s by the package. Raises CodecError where it is not installed.
    """

    names = ("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808")
    higher_is_better = True

    def __init__(self) -> None:
        self.definition = f"DNSMOS P.835 and P.808 of the decoding at 16 kHz (speechmos {_version('speechmos')})"
        try:
            from speechmos import dnsmos
        except ImportError as error:  # it does not declare what it imports
            raise CodecError(f"DNSMOS needs more packages: pip install 'neuralcodecs[judge]' ({error})") from error
        self._run = dnsmos.run

    def __call__(self, decoded: Float[Tensor, "c t"], reference: Float[Tensor, "c t"], rate: int) -> dict[str, float]:
        figures: list[list[float]] = []
        for channel in decoded:
            require_sound(channel, "decoded")
            heard = self._run(resampled(channel.float(), rate, RATE).clip(-1, 1), sr=RATE)
            figures.append([float(heard[f"{name.partition('_')[2]}_mos"]) for name in self.names])
        means = np.mean(figures, axis=0)
        if not np.isfinite(means).all():
            raise MetricFailure("DNSMOS: the result is not finite")
        return dict(zip(self.names, map(float, means), strict=True))


def further_metrics() -> tuple[list[Metric], dict[str, str]]:
    """ViSQOL in both modes, F0, MCD and DNSMOS; and why those that are missing are, by name."""
    metrics: list[Metric] = []
    absent: dict[str, str] = {}
    makers = {
        "visqol_speech": lambda: ViSQOL(speech=True),
        "visqol_audio": ViSQOL,
        "f0_correlation": F0Correlation,
        "mcd": MelCepstralDistortion,
        "dnsmos": DNSMOS,
    }
    for name, make in makers.items():
        try:
            metrics.append(make())
        except CodecError as error:
            absent[name] = str(error)
    return metrics, absent


def _version(package: str) -> str:
    try:
        return version(package)
    except ImportError as error:
        raise CodecError(f"no package {package}: pip install 'neuralcodecs[judge]'") from error


def _voice(signal: Float[Tensor, " t"], rate: int) -> NDArray[np.float64]:
    require_sound(signal, "given")
    return resampled(signal, rate, RATE).astype(np.float64)


def _pitch(signal: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import pyworld

    coarse, times = pyworld.dio(signal, RATE)
    return pyworld.stonemask(signal, coarse, times, RATE), times


def _envelope(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Power over frequency, ``(frames, bins)``."""
    import pyworld

    pitch, times = _pitch(signal)
    return pyworld.cheaptrick(signal, pitch, times, RATE)


def mel_cepstrum(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients 1 to ORDER such that the log amplitude over warped frequency is the sum of c cos(k w)."""
    bins = power.shape[1]
    warped = (np.arange(bins) + 0.5) * np.pi / bins
    # the all-pass of -WARP takes the warped axis back to the plain one
    plain = warped - 2 * np.arctan(WARP * np.sin(warped) / (1 + WARP * np.cos(warped)))
    axis = np.linspace(0, np.pi, bins)
    amplitude = 0.5 * np.log(np.maximum(power, 1e-16))
    spectra = np.stack([np.interp(plain, axis, frame) for frame in amplitude])
    orders = np.arange(1, ORDER + 1)
    return spectra @ np.cos(np.outer(warped, orders)) * 2 / bins
