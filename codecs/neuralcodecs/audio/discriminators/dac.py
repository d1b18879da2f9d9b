"""DAC's discriminators: multi-period and multi-band STFT. https://arxiv.org/abs/2306.06546, section 3.5"""

from itertools import pairwise

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from neuralcodecs.audio.discriminators.ms_stft import ConvStack, judge, parts
from neuralcodecs.audio.spectral import STFT, pad_reflect
from neuralcodecs.criteria import Discriminator, Verdict

BAND_EDGES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
PEAK = 0.8
QUIETEST = 1e-3
SLOPE = 0.1


class MultiPeriodDiscriminator(Discriminator):
    """HiFi-GAN's: convolutions over every p-th sample, for each period p. https://arxiv.org/abs/2010.05646, section 2.3

    Each channel is judged as a signal of its own. Verdicts in the order of ``periods``: logits ``(b, c, 1, n, p)`` and
    five feature maps ``(b, c, k, n, p)``. ``channels``: width of each layer.
    """

    def __init__(
        self,
        periods: tuple[int, ...] = (2, 3, 5, 7, 11),
        channels: tuple[int, ...] = (32, 128, 512, 1024, 1024),
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PeriodDiscriminator(period, channels) for period in periods)

    def forward(self, signal: Float[Tensor, "b c t"]) -> list[Verdict]:
        return judge(self.scales, rearrange(signal, "b c t -> (b c) 1 t"), len(signal))


class MultiBandSTFTDiscriminator(Discriminator):
    """DAC's: per STFT window, one stack of 2-D convolutions for each band of frequencies, on real and imaginary parts.

    Each channel is judged as a signal of its own; hop = window / 4, exactly ceil(t / hop) frames n. ``edges``: limits
    of the bands as fractions of the bins. Verdicts in the order of ``windows``: logits ``(b, c, 1, n, f)`` over the
    joined bands and five feature maps ``(b, c, filters, n, f)`` per band, band after band.
    """

    def __init__(
        self,
        windows: tuple[int, ...] = (2048, 1024, 512),
        edges: tuple[float, ...] = BAND_EDGES,
        filters: int = 32,
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(BandSTFTDiscriminator(window, edges, filters) for window in windows)

    def forward(self, signal: Float[Tensor, "b c t"]) -> list[Verdict]:
        return judge(self.scales, rearrange(signal, "b c t -> (b c) 1 t"), len(signal))


class DACDiscriminator(Discriminator):
    """Both of the above on the signal without its mean and scaled to a peak of 0.8, periods first.

    Signals with a peak below 1e-3 (-60 dB) are scaled as if it were 1e-3. The published code divides by any peak: there
    the gradient of a nearly silent output is up to 8e8 times that of a loud one, and one such item ruins a step.

    ``channels`` and ``filters``: widths of the layers of the two.
    """

    def __init__(
        self,
        periods: tuple[int, ...] = (2, 3, 5, 7, 11),
        windows: tuple[int, ...] = (2048, 1024, 512),
        edges: tuple[float, ...] = BAND_EDGES,
        channels: tuple[int, ...] = (32, 128, 512, 1024, 1024),
        filters: int = 32,
    ) -> None:
        super().__init__()
        self.periods = MultiPeriodDiscriminator(periods, channels)
        self.bands = MultiBandSTFTDiscriminator(windows, edges, filters)

    def forward(self, signal: Float[Tensor, "b c t"]) -> list[Verdict]:
        signal = signal.float()
        centred = signal - signal.mean(dim=-1, keepdim=True)
        levelled = PEAK * centred / centred.abs().amax(dim=-1, keepdim=True).clamp(min=QUIETEST)
        return [*self.periods(levelled), *self.bands(levelled)]


class PeriodDiscriminator(nn.Module):
    """The signal folded to ``(n, period)``, then 5x1 convolutions of stride 3 (the last of stride 1), then 3x1 (1)."""

    def __init__(self, period: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.period = period
        strides = (3,) * (len(channels) - 1) + (1,)
        convs = [
            weight_norm(nn.Conv2d(inside, outside, (5, 1), (stride, 1), padding=(2, 0)))
            for (inside, outside), stride in zip(pairwise((1, *channels)), strides, strict=True)
        ]
        self.stack = ConvStack(convs, SLOPE)
        self.post = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, signal: Float[Tensor, "b 1 t"]) -> tuple[Tensor, list[Tensor]]:
        # the published code pads a whole period where none is needed; kept, so that its weights give its logits
        padded = pad_reflect(signal, 0, self.period - signal.shape[-1] % self.period)
        padded = padded[..., : padded.shape[-1] // self.period * self.period]
        *features, logits = self.stack(rearrange(padded, "b c (n p) -> b c n p", p=self.period), self.post)
        return logits, features


class BandSTFTDiscriminator(nn.Module):
    """Per band: 3x9 -> 3x9 three times, halving f -> 3x3; then the bands joined along f -> 3x3 (1)."""

    def __init__(self, window: int, edges: tuple[float, ...], filters: int) -> None:
        super().__init__()
        hop = window // 4
        self.stft = STFT(window, hop, (window - hop) // 2, fill=True)
        self.limits = [int(edge * (window // 2 + 1)) for edge in edges]
        self.stacks = nn.ModuleList(_band_stack(filters) for _ in edges[1:])
        self.post = weight_norm(nn.Conv2d(filters, 1, 3, padding=1))

    def forward(self, signal: Float[Tensor, "b 1 t"]) -> tuple[Tensor, list[Tensor]]:
        spectrum = parts(self.stft(signal))
        bands = [spectrum[..., low:high] for low, high in pairwise(self.limits)]
        features = [stack(band) for stack, band in zip(self.stacks, bands, strict=True)]
        joined = torch.cat([outputs[-1] for outputs in features], dim=-1)
        return self.post(joined), [output for outputs in features for output in outputs]


def _band_stack(filters: int) -> ConvStack:
    convs = [nn.Conv2d(2, filters, (3, 9), padding=(1, 4))]
    convs += [nn.Conv2d(filters, filters, (3, 9), (1, 2), padding=(1, 4)) for _ in range(3)]
    convs += [nn.Conv2d(filters, filters, 3, padding=1)]
    return ConvStack((weight_norm(conv) for conv in convs), SLOPE)
