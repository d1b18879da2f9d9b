"""What wideband PESQ hears as disturbance, as a loss: ITU-T P.862 (02/2001), section 10, with P.862.2 (11/2007).

signals -> equal level -> power in Bark bands -> equalised -> loudness -> differences -> per frame -> over time
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.audio import bark
from neuralcodecs.audio.resample import resampling
from neuralcodecs.audio.spectral import STFT
from neuralcodecs.criteria import Loss
from neuralcodecs.layers.precision import full_precision

RATE = 16000
WINDOW = 512
BAND = (325.0, 3250.0)
"""Hz over which levels are compared."""
LEVEL = 1e7
"""Mean power that both signals are brought to."""
QUIETEST = 1e-10
"""Mean square added before levels are made equal, of signals in [-1, 1]: what is quieter than -100 dB stays quiet."""
HIGH_PASS = ((2.740826, -5.4816519, 2.740826), (1.0, -1.9444777, 0.94597794))
"""P.862.2's input filter: numerator and denominator."""
ZWICKER = 0.23
FRAMES = 20
"""Frames of one interval, of which the next begins halfway."""
SYMMETRIC, ASYMMETRIC = 0.1, 0.0309
SMALLEST = 1e-6
"""Added under roots, which have no gradient at zero."""
SMOOTHING = (0.0064, 0.032, 0.16, 0.8)
"""Of the level of frames: 0.8 x 0.2^k of the frame k before."""


class PerceptualDisturbance(Loss):
    """Points that a signal loses on PESQ's raw scale, on which 4.5 is perfect: 0.1 D + 0.0309 D_asymmetric.

    The perceptual model of PESQ without its alignment in time and its search for bad intervals, which decoded signals
    do not need; each channel of each item is judged as a signal of its own and the mean is returned. The level of
    either signal has no say. A crop is judged in whole frames of 32 ms every 16 ms; what is shorter gets zeros.

    A codec that is trained on it is then judged by a relative of its own loss: say so beside its PESQ.

    Args:
        rate: samples per second; other rates than 16 kHz are resampled.
    """

    response: Tensor
    audible_band: Tensor
    bands: Tensor
    thresholds: Tensor
    exponents: Tensor
    widths: Tensor
    taps: Tensor

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.resample = resampling(rate, RATE)
        self.stft = STFT(WINDOW, WINDOW // 2)
        # on the CPU wherever the module is built, as in MelScale
        with torch.device("cpu"):
            hertz = torch.linspace(0, RATE / 2, WINDOW // 2 + 1)
            turns = torch.polar(torch.ones(()), -2 * torch.pi * hertz / RATE)
            top, bottom = (sum((a * turns**k for k, a in enumerate(side)), torch.zeros(())) for side in HIGH_PASS)
            scale = torch.tensor(bark.CORRECTIONS) * bark.POWER_SCALE
            bands = torch.repeat_interleave(torch.arange(len(bark.BINS)), torch.tensor(bark.BINS))
            matrix = F.one_hot(bands, len(bark.BINS)).float() * scale
            matrix[0] = 0  # the mean of the signal is not heard
            matrix = F.pad(matrix, (0, 0, 0, len(hertz) - len(matrix)))
            exponents = ZWICKER * (6 / (torch.tensor(bark.CENTRES) + 2)).clamp(1, 2) ** 0.15
            tables = {
                "response": (top / bottom).abs().square(),
                "audible_band": ((hertz >= BAND[0]) & (hertz <= BAND[1])).float(),
                "bands": matrix,
                "thresholds": torch.tensor(bark.THRESHOLDS),
                "exponents": exponents,
                "widths": torch.tensor(bark.WIDTHS)[1:],
                "taps": torch.tensor(SMOOTHING) / sum(SMOOTHING),
            }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def forward(self, output: Float[Tensor, "b c t"], target: Float[Tensor, "b c t"]) -> Float[Tensor, ""]:
        with full_precision(output):
            return self.of_each(output.float(), target.float()).mean()

    def of_each(self, output: Float[Tensor, "b c t"], target: Float[Tensor, "b c t"]) -> Float[Tensor, " n"]:
        """Of every channel of every item; n = b c. In fp32."""
        degraded, original = self._equalised(*(self._bark_powers(signal) for signal in (output, target)))
        loudness, wanted = self._loudness(degraded), self._loudness(original)
        masked = torch.minimum(loudness, wanted) / 4
        difference = loudness - wanted
        difference = difference - torch.clamp(difference, -masked, masked)
        ratio = ((degraded + 50) / (original + 50)) ** 1.2
        added = torch.where(ratio < 3, 0, ratio.clamp(max=12))
        calm = ((self._audible(original, 1) + 1e5) / 1e7) ** 0.04
        symmetric = _over_time(self._over_bands(difference, 2) / calm)
        asymmetric = _over_time(self._over_bands(difference * added, 1) / calm)
        return SYMMETRIC * symmetric + ASYMMETRIC * asymmetric

    def _bark_powers(self, signal: Tensor) -> Float[Tensor, "n frames bands"]:
        """Filtered and at the common level."""
        signal = rearrange(signal, "b c t -> (b c) 1 t")
        spectrum = rearrange(self.stft(self.resample(signal)), "n 1 frames bins -> n frames bins")
        power = spectrum.real.square() + spectrum.imag.square()
        # Parseval: the mean square of what lies in the band
        energy = 2 * (power * self.audible_band).sum(-1) / (WINDOW * self.stft.window.square().sum())
        level = LEVEL / (energy.mean(-1) + QUIETEST)
        return (power * self.response * level[:, None, None]) @ self.bands

    def _equalised(self, degraded: Tensor, original: Tensor) -> tuple[Tensor, Tensor]:
        """The original with the spectrum of the degraded, the degraded with the level of each frame of the original."""
        spoken = self._audible(original, 100) >= 1e7
        means = (self._heard(p, 100).mul(spoken[..., None]).mean(1, keepdim=True) for p in (degraded, original))
        ours, theirs = means
        original = original * ((ours + 1000) / (theirs + 1000)).clamp(0.01, 100)
        gain = (self._audible(original, 1) + 5e3) / (self._audible(degraded, 1) + 5e3)
        padded = F.pad(gain, (len(self.taps) - 1, 0), value=1.0)
        gain = (padded.unfold(-1, len(self.taps), 1) @ self.taps).clamp(3e-4, 5)
        return degraded * gain[..., None], original

    def _loudness(self, power: Tensor) -> Tensor:
        """In sone per Bark: Zwicker's law."""
        least = self.thresholds
        risen = (0.5 + 0.5 * power / least).clamp(min=1) ** self.exponents - 1
        return bark.LOUDNESS_SCALE * (2 * least) ** self.exponents * risen

    def _heard(self, power: Tensor, factor: int) -> Tensor:
        return torch.where(power > factor * self.thresholds, power, 0)

    def _audible(self, power: Tensor, factor: int) -> Float[Tensor, "n frames"]:
        return self._heard(power, factor).sum(-1)

    def _over_bands(self, difference: Tensor, p: int) -> Float[Tensor, "n frames"]:
        """The lowest band does not count."""
        total = self.widths.sum()
        weighted = (self.widths * difference[..., 1:]).abs() ** p
        return (total * ((weighted.sum(-1) / total + SMALLEST) ** (1 / p) - SMALLEST ** (1 / p))).clamp(max=45)


def _over_time(disturbance: Float[Tensor, "n frames"]) -> Float[Tensor, " n"]:
    """Loud intervals count most within 0.3 s (norm of order 6), less over the whole (order 2)."""
    size = min(FRAMES, disturbance.shape[-1])
    intervals = disturbance.unfold(-1, size, max(1, size // 2))
    return _norm(_norm(intervals, 6), 2)


def _norm(values: Tensor, p: int) -> Tensor:
    return (values**p).mean(-1).add(SMALLEST).pow(1 / p) - SMALLEST ** (1 / p)
