"""Short-time Fourier transforms and mel spectrograms, shared by losses, discriminators and metrics.

Time is the third axis and frequency the last, ``(b, c, n, f)``: the order in which the transform leaves them in memory.
"""

import warnings

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from neuralcodecs.layers.precision import full_precision


def pad_reflect(signal: Float[Tensor, "*batch t"], left: int, right: int) -> Float[Tensor, "*batch _"]:
    """Mirror both ends. A signal too short to be mirrored that far is first extended with zeros on the right."""
    missing = max(left, right) + 1 - signal.shape[-1]
    if missing > 0:
        signal = F.pad(signal, (0, missing))
    return F.pad(signal, (left, right), mode="reflect")


class STFT(nn.Module):
    """Complex spectrum under a periodic Hann window, always in fp32.

    ``padding``: samples mirrored at each end: 0 for whole windows inside the signal only, ``window // 2`` to centre the
    frames (``center=True`` of torch.stft), ``(window - hop) // 2`` together with ``fill`` for exactly ceil(t / hop)
    frames. ``fill``: first mirror the end up to a multiple of ``hop``. ``normalized``: divide by the window's energy,
    as torchaudio's ``normalized=True`` does. A signal still shorter than a window is extended with zeros on the right.
    """

    window: Tensor

    def __init__(self, window: int, hop: int, padding: int = 0, fill: bool = False, normalized: bool = False) -> None:
        super().__init__()
        self.size, self.hop, self.padding, self.fill = window, hop, padding, fill
        hann = torch.hann_window(window)
        self.register_buffer("window", hann / hann.square().sum().sqrt() if normalized else hann, persistent=False)

    def forward(self, signal: Float[Tensor, "b c t"]) -> Complex[Tensor, "b c n f"]:
        right = self.padding + (-signal.shape[-1] % self.hop if self.fill else 0)
        with full_precision(signal):
            padded = pad_reflect(signal.float(), self.padding, right).flatten(0, 1)
            padded = F.pad(padded, (0, max(0, self.size - padded.shape[-1])))
            spectrum = torch.stft(
                padded, self.size, self.hop, window=self.window.float(), center=False, return_complex=True
            )
        return spectrum.transpose(1, 2).unflatten(0, signal.shape[:2])


class MelScale(nn.Module):
    """Triangular mel bands of a spectrum's magnitude or power.

    ``slaney``: Slaney's mel scale with bands of unit area (librosa's default); otherwise the HTK scale with bands of
    unit height (torchaudio's default). ``f_max`` is half the rate. Where a short window has fewer bins than bands are
    asked for, the bands that fall between two bins stay zero, as in the published losses.
    """

    filters: Tensor

    def __init__(self, rate: int, window: int, n_mels: int, f_min: float = 0.0, slaney: bool = False) -> None:
        super().__init__()
        scale, norm = ("slaney", "slaney") if slaney else ("htk", None)
        # on the CPU wherever the module is built: it reads values back, which there are none of without memory
        with warnings.catch_warnings(), torch.device("cpu"):
            warnings.filterwarnings("ignore", message="At least one mel filterbank")
            filters = melscale_fbanks(window // 2 + 1, f_min, rate / 2, n_mels, rate, norm, scale)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, spectrum: Float[Tensor, "b c n f"]) -> Float[Tensor, "b c n m"]:
        with full_precision(spectrum):
            return spectrum.float() @ self.filters.float()
