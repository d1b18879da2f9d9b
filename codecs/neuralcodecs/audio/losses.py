"""Reconstruction losses of waveform codecs, in fp32 under autocast; every channel is judged as a signal of its own.

Signals of any length: frames at the ends are completed by mirroring, and signals too short for that are extended with
zeros on the right (``neuralcodecs.audio.spectral``), output and target alike.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.audio.spectral import STFT, MelScale
from neuralcodecs.criteria import Loss
from neuralcodecs.errors import CodecError

FLOOR = 1e-5
POWER_FLOOR = 1e-6
"""Of compressed spectra of signals with a root mean square of 1."""
MEL_FLOOR = 1e-7


class WaveformL1(Loss):
    """Mean absolute difference of the samples."""

    def forward(self, output: Float[Tensor, "b c t"], target: Float[Tensor, "b c t"]) -> Float[Tensor, ""]:
        return F.l1_loss(output.float(), target.float())


class NoiseToSignal(Loss):
    """Energy of the error over energy of the target, per channel of each item, averaged: the inverse of the SNR.

    Quiet items count as much as loud ones, so the waveform is learned beside a logarithmic spectral loss, whose
    gradient does not shrink with the signal as that of ``WaveformL1`` does. ``floor``: added to the target's mean
    square, so that silence is not divided by; 1e-4 is that of a signal at -40 dB.
    """

    def __init__(self, floor: float = 1e-4) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, output: Float[Tensor, "b c t"], target: Float[Tensor, "b c t"]) -> Float[Tensor, ""]:
        error = (output.float() - target.float()).square().mean(-1)
        return (error / (target.float().square().mean(-1) + self.floor)).mean()


class EncodecMel(Loss):
    """EnCodec's multi-scale mel loss: L1 + ``alpha`` * L2 between mel spectrograms, averaged over scales.

    https://arxiv.org/abs/2210.13438, equation 1: 64 mel bands of a normalised STFT, window 2^i and hop 2^i / 4,
    i = 5..11, alpha = 1. What the paper leaves open follows its authors' trainer (AudioCraft): power spectra, HTK mel
    bands, both norms as means (L2 = mean square), ceil(t / hop) frames. That trainer also takes the L2 term between
    log10(1e-5 + mel): ``log_l2=True``, there with windows 64 to 1024 and ``f_min=64``.

    ``rate``: samples per second. ``f_min``: lower edge of the lowest band in Hz.
    """

    def __init__(
        self,
        rate: int,
        windows: tuple[int, ...] = (32, 64, 128, 256, 512, 1024, 2048),
        n_mels: int = 64,
        f_min: float = 0.0,
        alpha: float = 1.0,
        log_l2: bool = False,
    ) -> None:
        super().__init__()
        self.alpha, self.log_l2 = alpha, log_l2
        self.stfts = nn.ModuleList(STFT(w, w // 4, (w - w // 4) // 2, fill=True, normalized=True) for w in windows)
        self.mels = nn.ModuleList(MelScale(rate, w, n_mels, f_min) for w in windows)

    def forward(self, output: Float[Tensor, "b c t"], target: Float[Tensor, "b c t"]) -> Float[Tensor, ""]:
        total = output.new_zeros((), dtype=torch.float32)
        for stft, mel in zip(self.stfts, self.mels, strict=True):
            ours, theirs = (mel(_power(stft(signal))) for signal in (output, target))
            total = total + F.l1_loss(ours, theirs)
            if self.log_l2:
                ours, theirs = (FLOOR + ours).log10(), (FLOOR + theirs).log10()
            total = total + self.alpha * F.mse_loss(ours, theirs)
        return total / len(self.stfts)


class MultiScaleMel(Loss):
    """DAC's mel loss: mean absolute difference of log10 mel magnitudes, clamped at 1e-5 below, summed over scales.

    https://arxiv.org/abs/2306.06546, section 3.6: hop = window / 4, Slaney's mel bands from 0 Hz to half the rate,
    centred frames.

    ``rate``: samples per second. ``windows`` and ``n_mels``: one entry per scale.
    """

    def __init__(
        self,
        rate: int,
        windows: tuple[int, ...] = (32, 64, 128, 256, 512, 1024, 2048),
        n_mels: tuple[int, ...] = (5, 10, 20, 40, 80, 160, 320),
    ) -> None:
        super().__init__()
        if len(windows) != len(n_mels):
            raise CodecError(f"windows {windows} and n_mels {n_mels} must name the same number of scales")
        self.stfts = nn.ModuleList(STFT(w, w // 4, w // 2) for w in windows)
        self.mels = nn.ModuleList(MelScale(rate, w, m, slaney=True) for w, m in zip(windows, n_mels, strict=True))

    def forward(self, output: Float[Tensor, "b c t"], target: Float[Tensor, "b c t"]) -> Float[Tensor, ""]:
        total = output.new_zeros((), dtype=torch.float32)
        for stft, mel in zip(self.stfts, self.mels, strict=True):
            ours, theirs = (mel(stft(signal).abs()) for signal in (output, target))
            total = total + F.l1_loss(_log10(ours), _log10(theirs))
        return total


class LogMel(Loss):
    """Vocos' mel loss: mean absolute difference of natural logarithms of mel magnitudes, at least 1e-7.

    https://arxiv.org/abs/2306.00814, section 3.3 and its code: HTK mel bands up to half the rate, centred frames.

    ``rate``: samples per second.
    """

    def __init__(self, rate: int, bands: int = 100, window: int = 1024, hop: int = 256) -> None:
        super().__init__()
        self.stft = STFT(window, hop, window // 2)
        self.mel = MelScale(rate, window, bands)

    def forward(self, output: Float[Tensor, "b c t"], target: Float[Tensor, "b c t"]) -> Float[Tensor, ""]:
        ours, theirs = (self.mel(self.stft(signal).abs()).clamp(min=MEL_FLOOR).log() for signal in (output, target))
        return F.l1_loss(ours, theirs)


class MultiScaleSTFT(Loss):
    """DAC's STFT loss, summed over scales: mean absolute difference of magnitudes and of log10 of their squares.

    https://github.com/descriptinc/descript-audio-codec, ``dac.nn.loss.MultiScaleSTFTLoss`` with its defaults: hop =
    window / 4, centred frames, magnitudes clamped at 1e-5 below before the logarithm, both terms of weight 1.
    """

    def __init__(self, windows: tuple[int, ...] = (2048, 512)) -> None:
        super().__init__()
        self.stfts = nn.ModuleList(STFT(w, w // 4, w // 2) for w in windows)

    def forward(self, output: Float[Tensor, "b c t"], target: Float[Tensor, "b c t"]) -> Float[Tensor, ""]:
        total = output.new_zeros((), dtype=torch.float32)
        for stft in self.stfts:
            ours, theirs = (stft(signal).abs() for signal in (output, target))
            total = total + F.l1_loss(ours, theirs) + 2 * F.l1_loss(_log10(ours), _log10(theirs))
        return total


class CompressedSpectrum(Loss):
    """Distance of spectra whose magnitudes are compressed, with their phases and without, averaged over scales.

    https://arxiv.org/abs/2009.12286, equation 5: (1 - share) (|S|^c - |T|^c)^2 + share | |S|^c e^ia - |T|^c e^ib |^2,
    c = 0.3, share = 0.3, as a mean over bins. Signals are first divided by the target's root mean square, so that quiet
    items count as much as loud ones; ``floor`` is added to its square. Hop = window / 4, centred frames.
    """

    def __init__(
        self,
        windows: tuple[int, ...] = (1024, 512, 256),
        compression: float = 0.3,
        share: float = 0.3,
        floor: float = 1e-5,
    ) -> None:
        super().__init__()
        self.compression, self.share, self.floor = compression, share, floor
        self.stfts = nn.ModuleList(STFT(w, w // 4, w // 2) for w in windows)

    def forward(self, output: Float[Tensor, "b c t"], target: Float[Tensor, "b c t"]) -> Float[Tensor, ""]:
        total = output.new_zeros((), dtype=torch.float32)
        level = (target.float().square().mean(-1, keepdim=True) + self.floor).rsqrt()
        for stft in self.stfts:
            ours, theirs = (stft(signal.float() * level) for signal in (output, target))
            size, wanted = ((_power(spectrum) + POWER_FLOOR).pow(self.compression / 2) for spectrum in (ours, theirs))
            # |S|^c e^ia = S |S|^(c - 1), whose gradient the floor keeps finite at zero
            first = torch.view_as_real(ours) * size.pow(1 - 1 / self.compression).unsqueeze(-1)
            second = torch.view_as_real(theirs) * wanted.pow(1 - 1 / self.compression).unsqueeze(-1)
            phases = (first - second).square().sum(-1).mean()
            total = total + (1 - self.share) * F.mse_loss(size, wanted) + self.share * phases
        return total / len(self.stfts)


def _power(spectrum: Tensor) -> Tensor:
    """Squared magnitude from the parts: its gradient is exact at zero, and no square root is taken to be squared."""
    return spectrum.real.square() + spectrum.imag.square()


def _log10(magnitude: Tensor) -> Tensor:
    return magnitude.clamp(min=FLOOR).log10()
