"""Vocos: ConvNeXt blocks at a constant frame rate, then one inverse Fourier transform (https://arxiv.org/abs/2306.00814)."""

from typing import Literal

import torch
from jaxtyping import Complex, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.codec import Decoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.precision import full_precision

Padding = Literal["same", "center"]
LOUDEST = 100.0
"""Largest magnitude of a bin."""


class VocosDecoder(Decoder):
    """Latents ``(b, dim, n)`` to a waveform by the spectrum of one window per frame.

        Conv 7 -> norm -> ConvNeXt blocks -> norm -> linear -> magnitude (exp), phase (cos, sin) -> inverse STFT

    The hop is the codec's stride. ``same`` gives n * hop samples, of features whose frames stand for a hop each;
    ``center`` (n - 1) * hop, of those whose first frame is centred at the first sample.
    Published: mel 24 kHz, 13.5 million parameters, ``padding="center"``; EnCodec codes, 7.9 million: ``width=384,
    hidden=1152, window=1280, conditions=4``.

    Args:
        dim, channels, strides: as for every decoder.
        width: channels of the blocks.
        hidden: channels inside them.
        blocks: how many.
        window: samples of the Fourier transform and its Hann window; at least two hops.
        padding: what the frames stand for.
        conditions: number of bitrates that scale and shift the norms; the last channel of the latents then holds the
            number of the bitrate (``quantizers.announced``). 0: norms of their own.
    """

    def __init__(
        self,
        dim: int,
        channels: int,
        strides: Shape,
        width: int = 512,
        hidden: int = 1536,
        blocks: int = 8,
        window: int = 1024,
        padding: Padding = "same",
        conditions: int = 0,
    ) -> None:
        super().__init__()
        if len(strides) != 1:
            raise CodecError(f"strides {tuple(strides)}: a vocoder makes sound, which has one axis")
        if conditions < 0 or dim <= bool(conditions):
            raise CodecError(f"conditions {conditions} with latents of {dim} channels: give at least 0, and a channel")
        self.channels, self.conditions = channels, conditions
        self.embed = _fresh(nn.Conv1d(dim - bool(conditions), width, 7, padding=3))
        self.norm = _Norm(width, conditions)
        self.blocks = nn.ModuleList(_Block(width, hidden, 1 / blocks, conditions) for _ in range(blocks))
        self.last_norm = nn.LayerNorm(width, eps=1e-6)
        self.head = _fresh(nn.Linear(width, channels * (window + 2)))
        self.transform = InverseSTFT(window, strides[0], padding)

    def forward(self, latents: Float[Tensor, "b d n"]) -> Float[Tensor, "b c t"]:
        condition = None
        if self.conditions:
            condition = latents[:, -1, 0].round().long().clamp(0, self.conditions - 1)
            latents = latents[:, :-1]
        x = self.norm(self.embed(latents).transpose(1, 2), condition)
        for block in self.blocks:
            x = block(x, condition)
        spectrum = self.head(self.last_norm(x)).unflatten(2, (self.channels, -1)).transpose(1, 2)
        with full_precision(spectrum):
            logarithm, phase = spectrum.float().chunk(2, dim=-1)
            return self.transform(torch.polar(logarithm.exp().clamp(max=LOUDEST), phase))


class InverseSTFT(nn.Module):
    """Spectra of Hann windows to the signal that they overlap in, with the padding of Vocos.

    torch.istft knows no ``same`` padding: at its ends the windows add up to nothing, before they are cut off
    (https://github.com/pytorch/pytorch/issues/62323).

    Args:
        window: samples of a window.
        hop: samples from one window to the next.
        padding: ``same`` cuts (window - hop) / 2 samples at either end, ``center`` half a window.
    """

    window: Tensor

    def __init__(self, window: int, hop: int, padding: Padding = "same") -> None:
        super().__init__()
        if window < 2 * hop or window % 2 or (window - hop) % 2:
            raise CodecError(
                f"window {window} for a hop of {hop}: give an even one, as the hop is, of two hops or more"
            )
        self.size, self.hop = window, hop
        self.cut = {"same": (window - hop) // 2, "center": window // 2}[padding]
        self.register_buffer("window", torch.hann_window(window), persistent=False)

    def forward(self, spectrum: Complex[Tensor, "b c n f"]) -> Float[Tensor, "b c t"]:
        window = self.window.float()
        frames = torch.fft.irfft(spectrum, self.size, dim=-1) * window
        weight = self._overlapped(window.square().expand(1, spectrum.shape[-2], -1))
        return (self._overlapped(frames.flatten(0, 1)) / weight).unflatten(0, spectrum.shape[:2])

    def _overlapped(self, frames: Float[Tensor, "b n w"]) -> Float[Tensor, "b t"]:
        length = (frames.shape[1] - 1) * self.hop + self.size
        added = F.fold(frames.transpose(1, 2), (1, length), (1, self.size), stride=(1, self.hop))
        return added[:, 0, 0, self.cut : length - self.cut]


class _Norm(nn.Module):
    """Layer norm over the last axis whose scale and shift are those of the item's condition, if there are any."""

    def __init__(self, width: int, conditions: int) -> None:
        super().__init__()
        self.conditioned, self.width = bool(conditions), width
        shape = (conditions, width) if conditions else (width,)
        self.scale = nn.Parameter(torch.ones(shape))
        self.shift = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Float[Tensor, "b n w"], condition: Int64[Tensor, " b"] | None) -> Float[Tensor, "b n w"]:
        if condition is None:
            return F.layer_norm(x, (self.width,), self.scale, self.shift, 1e-6)
        normal = F.layer_norm(x, (self.width,), eps=1e-6)
        return normal * self.scale[condition][:, None] + self.shift[condition][:, None]


class _Block(nn.Module):
    """ConvNeXt (https://arxiv.org/abs/2201.03545) on one axis: depthwise 7, norm, two linear layers, scaled, added."""

    def __init__(self, width: int, hidden: int, scale: float, conditions: int) -> None:
        super().__init__()
        self.depthwise = _fresh(nn.Conv1d(width, width, 7, padding=3, groups=width))
        self.norm = _Norm(width, conditions)
        self.widen = _fresh(nn.Linear(width, hidden))
        self.narrow = _fresh(nn.Linear(hidden, width))
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Float[Tensor, "b n w"], condition: Int64[Tensor, " b"] | None) -> Float[Tensor, "b n w"]:
        h = self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2), condition)
        return x + self.scale * self.narrow(F.gelu(self.widen(h)))


def _fresh(layer: nn.Conv1d | nn.Linear) -> nn.Conv1d | nn.Linear:
    """Weights as published: a narrow truncated normal, no bias."""
    nn.init.trunc_normal_(layer.weight, std=0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
