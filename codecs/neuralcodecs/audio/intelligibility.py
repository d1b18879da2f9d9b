"""What STOI misses of speech, as a loss: Taal et al., IEEE TASLP 19(7), 2011, https://doi.org/10.1109/TASL.2011.2114881

signals at 10 kHz -> spectra of 25.6 ms -> envelopes of third-octave bands -> correlations over 0.4 s -> 1 - mean
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from neuralcodecs.audio.resample import resampling
from neuralcodecs.criteria import Loss
from neuralcodecs.layers.precision import full_precision

RATE = 10000
WINDOW, HOP, BINS = 256, 128, 512
BANDS, LOWEST = 15, 150.0
"""Third-octave bands and the centre of the first one in Hz."""
FRAMES = 30
"""Of one segment; another begins at every frame."""
RANGE_DB = 40.0
"""Frames so far below the loudest one of the target are not heard."""
CLIP = 1 + 10 ** (15 / 20)
"""An envelope above the target's counts up to this multiple of it: a ratio of signal to distortion of -15 dB."""
QUIETEST = 1e-5
"""Amplitude to which targets are taken as loud at least."""
SMALLEST = 1e-6
"""Added under roots, which have no gradient at zero."""


class IntelligibilityLoss(Loss):
    """1 - STOI: 0 for equal signals, about 1 for noise; each channel of each item is a signal of its own.

    STOI takes frames of silence out of the signals; here they are left out of the sums, and a segment counts by how
    many of its frames are heard, one with less than half of them not at all. Levels have no say. What is shorter than
    a segment is one segment.

    A codec that is trained on it is then judged by a relative of its own loss: say so beside its STOI.

    Args:
        rate: samples per second; other rates than 10 kHz are resampled.
    """

    window: Tensor
    bands: Tensor

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.resample = resampling(rate, RATE)
        with torch.device("cpu"):  # wherever the module is built, as in MelScale
            hertz = torch.linspace(0, RATE / 2, BINS // 2 + 1)
            centres = LOWEST * 2 ** (torch.arange(BANDS) / 3)
            low, high = (
                (hertz - edge[:, None]).abs().argmin(1) for edge in (centres / 2 ** (1 / 6), centres * 2 ** (1 / 6))
            )
            index = torch.arange(len(hertz))
            bands = (index >= low[:, None]) & (index < high[:, None])
            window = torch.hann_window(WINDOW + 2, periodic=False)[1:-1]
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("bands", bands.float().T.contiguous(), persistent=False)

    def forward(self, output: Float[Tensor, "b c t"], target: Float[Tensor, "b c t"]) -> Float[Tensor, ""]:
        with full_precision(output):
            return self.of_each(output.float(), target.float()).mean()

    def of_each(self, output: Float[Tensor, "b c t"], target: Float[Tensor, "b c t"]) -> Float[Tensor, " n"]:
        """Of every channel of every item; n = b c. In fp32."""
        loudness = target.square().mean(-1, keepdim=True).sqrt().clamp(min=QUIETEST)
        ours, theirs = (self._frames(signal / loudness) for signal in (output, target))
        heard = _heard(theirs)
        degraded, original = (_segments(self._envelopes(frames)) for frames in (ours, theirs))
        known = _segments(heard[:, None].float())  # n 1 segments frames
        scores = _correlations(degraded, original, known).mean(1)
        share = known[:, 0].mean(-1)
        share = torch.where(share < 0.5, 0, share)
        return ((1 - scores) * share).sum(-1) / share.sum(-1).clamp(min=SMALLEST)

    def _frames(self, signal: Float[Tensor, "b c t"]) -> Float[Tensor, "n frames window"]:
        """Under the window; zeros complete a signal that is shorter than one."""
        signal = self.resample(rearrange(signal, "b c t -> (b c) t"))
        signal = torch.nn.functional.pad(signal, (0, max(0, WINDOW - signal.shape[-1])))
        return signal.unfold(-1, WINDOW, HOP) * self.window

    def _envelopes(self, frames: Tensor) -> Float[Tensor, "n bands frames"]:
        spectrum = torch.fft.rfft(frames, BINS)
        power = spectrum.real.square() + spectrum.imag.square()
        return (power @ self.bands + SMALLEST).sqrt().transpose(1, 2)


def _heard(frames: Float[Tensor, "n frames window"]) -> Bool[Tensor, "n frames"]:
    energy = frames.square().sum(-1)
    return energy > energy.amax(-1, keepdim=True) * 10 ** (-RANGE_DB / 10)


def _segments(values: Float[Tensor, "n bands frames"]) -> Float[Tensor, "n bands segments size"]:
    return values.unfold(-1, min(FRAMES, values.shape[-1]), 1)


def _correlations(degraded: Tensor, original: Tensor, known: Tensor) -> Float[Tensor, "n bands segments"]:
    """Of the known frames of each segment, once the degraded has the original's level and is clipped."""
    degraded, original = degraded * known, original * known
    levels = (_energy(original) / _energy(degraded)).sqrt()
    degraded = torch.minimum(degraded * levels, original * CLIP)
    count = known.sum(-1, keepdim=True).clamp(min=1)
    degraded, original = ((x - x.sum(-1, keepdim=True) / count) * known for x in (degraded, original))
    product = (degraded * original).sum(-1, keepdim=True) + SMALLEST
    return (product / (_energy(degraded) * _energy(original)).sqrt()).squeeze(-1)


def _energy(x: Tensor) -> Tensor:
    return x.square().sum(-1, keepdim=True) + SMALLEST
