"""Metrics of decoded audio. Each is computed per channel and averaged over channels; one that fails fails the whole."""

import math
import warnings
from abc import abstractmethod
from importlib.metadata import version

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pesq import PesqError, pesq
from pystoi import stoi
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from neuralcodecs import __version__
from neuralcodecs.audio.losses import MultiScaleMel, MultiScaleSTFT
from neuralcodecs.audio.resample import resample
from neuralcodecs.criteria import Metric, MetricFailure
from neuralcodecs.errors import CodecError

SILENCE = 1e-6
"""RMS (after removing the mean) below which a channel counts as silent: -120 dB, under the last bit of 16-bit audio."""


class ChannelMetric(Metric):
    """A metric with one figure, defined on mono signals."""

    names: tuple[str]

    def __call__(self, decoded: Float[Tensor, "c t"], reference: Float[Tensor, "c t"], rate: int) -> dict[str, float]:
        if decoded.shape != reference.shape:
            raise ValueError(f"decoded {tuple(decoded.shape)} and reference {tuple(reference.shape)} differ in shape")
        if decoded.numel() == 0:
            raise MetricFailure("the signal is empty")
        for name, signal in (("decoded", decoded), ("reference", reference)):
            if not signal.isfinite().all():
                raise MetricFailure(f"the {name} signal holds infinite or undefined samples")
        with torch.no_grad():
            pairs = zip(decoded.float(), reference.float(), strict=True)
            figures = [self.figure(ours, theirs, rate) for ours, theirs in pairs]
        mean = sum(figures) / len(figures)
        if not math.isfinite(mean):
            raise MetricFailure(f"the result is {mean}")
        return {self.names[0]: mean}

    @abstractmethod
    def figure(self, decoded: Float[Tensor, " t"], reference: Float[Tensor, " t"], rate: int) -> float:
        """The figure of one channel, fp32 and finite; raises MetricFailure."""


class SISDR(ChannelMetric):
    """Scale-invariant signal-to-distortion ratio in dB. https://arxiv.org/abs/1811.02508

    Limited to 100 dB either way (a full-scale sine rounded to 16 bits has 98 dB), so signals that are equal up to a
    factor give 100 and not infinity. A silent reference or output has no ratio.
    """

    names = ("si_sdr",)
    higher_is_better = True
    definition = f"SI-SDR in dB, means removed, limited to +-100 dB (torchmetrics {version('torchmetrics')}, float64)"

    def figure(self, decoded: Float[Tensor, " t"], reference: Float[Tensor, " t"], rate: int) -> float:
        require_sound(decoded, "decoded")
        require_sound(reference, "reference")
        ratio = scale_invariant_signal_distortion_ratio(decoded.double(), reference.double(), zero_mean=True)
        return ratio.clamp(-100, 100).item()


class MelDistance(ChannelMetric):
    """DAC's multi-scale mel distance as a mean over its scales. https://arxiv.org/abs/2306.06546, section 3.6"""

    names = ("mel_distance",)
    higher_is_better = False
    definition = (
        "mean over 7 scales of the mean |difference| of log10 mel magnitudes clamped at 1e-5; windows 32, 64 ... 2048, "
        "hop w/4, 5, 10 ... 320 Slaney bands, at the signal's own rate; times 7 = the sum of DAC's loss "
        f"(neuralcodecs {__version__})"
    )

    def __init__(self) -> None:
        self._losses: dict[int, MultiScaleMel] = {}

    def figure(self, decoded: Float[Tensor, " t"], reference: Float[Tensor, " t"], rate: int) -> float:
        if rate not in self._losses:
            self._losses[rate] = MultiScaleMel(rate)
        loss = self._losses[rate]
        return loss(decoded[None, None], reference[None, None]).item() / len(loss.stfts)


class STFTDistance(ChannelMetric):
    """DAC's multi-scale STFT distance, the sum over its two scales."""

    names = ("stft_distance",)
    higher_is_better = False
    definition = (
        "sum over windows 2048 and 512 (hop w/4) of the mean |difference| of magnitudes plus that of log10 squared "
        f"magnitudes clamped at 1e-5, at the signal's own rate, as DAC's STFT loss (neuralcodecs {__version__})"
    )

    def __init__(self) -> None:
        self._loss = MultiScaleSTFT()

    def figure(self, decoded: Float[Tensor, " t"], reference: Float[Tensor, " t"], rate: int) -> float:
        return self._loss(decoded[None, None], reference[None, None]).item()


class PESQWideband(ChannelMetric):
    """Perceptual evaluation of speech quality, wideband: MOS-LQO of 1.04 to 4.64. ITU-T P.862.2

    Signals longer than 19 s are cut into equal pieces of at most 19 s and their figures averaged: the reference code
    has room for 50 utterances, writes beyond it where there are more (60 s of speech with many pauses killed the
    process), and counts at most one utterance in 0.404 s.
    """

    names = ("pesq_wb",)
    higher_is_better = True
    definition = (
        f"PESQ wideband MOS-LQO at 16 kHz, mean over equal pieces of at most 19 s (pesq {version('pesq')}, "
        f"resampled by torchaudio {version('torchaudio')}, 32 zero crossings)"
    )

    def figure(self, decoded: Float[Tensor, " t"], reference: Float[Tensor, " t"], rate: int) -> float:
        require_sound(decoded, "decoded")
        require_sound(reference, "reference")
        ours, theirs = resampled(decoded, rate, 16_000), resampled(reference, rate, 16_000)
        pieces = math.ceil(len(theirs) / (19 * 16_000))
        try:
            pairs = zip(np.array_split(theirs, pieces), np.array_split(ours, pieces), strict=True)
            return float(np.mean([pesq(16_000, *pair, mode="wb") for pair in pairs]))
        except PesqError as error:
            raise MetricFailure(f"PESQ: {_text(error)}") from error
        except ValueError as error:  # it divides by the energy of a piece of zeros
            raise MetricFailure(f"PESQ: a piece is silent ({error})") from error


class STOI(ChannelMetric):
    """Short-time objective intelligibility, 0 to 1 (not the extended one). https://doi.org/10.1109/TASL.2011.2114881"""

    names = ("stoi",)
    higher_is_better = True
    definition = f"STOI, not extended (pystoi {version('pystoi')}, with its own resampling to 10 kHz)"

    def figure(self, decoded: Float[Tensor, " t"], reference: Float[Tensor, " t"], rate: int) -> float:
        require_sound(reference, "reference")
        with warnings.catch_warnings():
            # pystoi warns and returns 1e-5 where too few frames are left
            warnings.simplefilter("error", RuntimeWarning)
            try:
                return float(stoi(reference.double().numpy(), decoded.double().numpy(), rate, extended=False))
            except (RuntimeWarning, ValueError, IndexError) as error:
                raise MetricFailure("STOI: too short or without speech: 30 frames (0.4 s) are needed") from error


class ViSQOL(ChannelMetric):
    """Virtual speech quality objective listener: MOS-LQO of 1 to 5. https://arxiv.org/abs/2004.09584

    ``speech``: speech mode at 16 kHz, otherwise audio mode at 48 kHz. ``lattice``: in speech mode, map to MOS as the
    C++ program does by default; otherwise the older polynomial is used, which judges degraded speech up to 2 points
    better. Needs the package ``visqol-python``, with its extra ``lattice`` for that mapping; CodecError without.
    """

    higher_is_better = True

    def __init__(self, speech: bool = False, lattice: bool = False) -> None:
        try:
            from visqol import VisqolApi

            self._api = VisqolApi()
            self._api.create(mode="speech" if speech else "audio", use_lattice_model=lattice)
        except ImportError as error:
            extra = "lattice,accel" if lattice else "accel"
            raise CodecError(f"ViSQOL needs more packages: pip install 'visqol-python[{extra}]' ({error})") from error
        self._rate = 16_000 if speech else 48_000
        self.names = ("visqol_speech" if speech else "visqol_audio",)
        mapping = ("lattice" if lattice else "polynomial") if speech else "support vector"
        self.definition = (
            f"ViSQOL MOS-LQO, {'speech' if speech else 'audio'} mode at {self._rate // 1000} kHz, {mapping} mapping "
            f"(visqol-python {version('visqol-python')}, resampled by torchaudio {version('torchaudio')})"
        )

    def figure(self, decoded: Float[Tensor, " t"], reference: Float[Tensor, " t"], rate: int) -> float:
        require_sound(decoded, "decoded")
        require_sound(reference, "reference")
        ours, theirs = resampled(decoded, rate, self._rate), resampled(reference, rate, self._rate)
        try:
            return float(self._api.measure_from_arrays(theirs, ours, self._rate).moslqo)
        except (ValueError, IndexError) as error:  # it indexes an empty list of patches where a signal is too short
            raise MetricFailure(f"ViSQOL: too short or without speech ({error})") from error


def default_metrics(visqol: bool = False) -> list[Metric]:
    """SI-SDR, mel and STFT distance, PESQ and STOI; with ``visqol`` also ViSQOL in both modes, which is far slower."""
    metrics: list[Metric] = [SISDR(), MelDistance(), STFTDistance(), PESQWideband(), STOI()]
    return [*metrics, ViSQOL(speech=True), ViSQOL()] if visqol else metrics


def require_sound(signal: Float[Tensor, " t"], name: str) -> None:
    """MetricFailure where a signal is silent."""
    if signal.double().std(correction=0) < SILENCE:
        raise MetricFailure(f"the {name} signal is silent")


def resampled(signal: Float[Tensor, " t"], rate: int, target: int) -> NDArray[np.float32]:
    """A channel at another rate, as the metrics' packages take it."""
    return resample(signal[None], rate, target)[0].numpy()


def _text(error: PesqError) -> str:
    message = error.args[0] if error.args else error
    return message.decode() if isinstance(message, bytes) else str(message)
