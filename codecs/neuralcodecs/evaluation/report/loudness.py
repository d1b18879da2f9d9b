"""Integrated loudness as ITU-R BS.1770-4 defines it (https://www.itu.int/rec/R-REC-BS.1770), at any sample rate."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torchaudio.functional import lfilter

BLOCK = 0.4
STEP = 0.1
ABSOLUTE_GATE = -70.0
RELATIVE_GATE = -10.0
OFFSET = -0.691
SHELF = (1681.974450955533, 3.999843853973347, 0.7071752369554196)
"""Frequency in Hz, gain in dB and Q of the analogue filter whose 48 kHz form the standard tabulates."""
HIGH_PASS = (38.13547087602444, 0.5003270373238773)
SHELF_MIDDLE = 0.4996667741545416
"""Exponent of the shelf's gain at its centre: that of the tabulated coefficients."""


def loudness(signal: Float[Tensor, "c t"], rate: int) -> float:
    """LUFS of mono or stereo sound in [-1, 1]; minus infinity for silence.

    A signal shorter than a block of 0.4 s is one block. Channels beyond the second count as front channels do.
    """
    weighted = signal.double()
    for numerator, denominator in (_shelf(rate), _high_pass(rate)):
        weighted = lfilter(weighted, denominator, numerator, clamp=False)
    size = min(round(BLOCK * rate), signal.shape[-1])
    blocks = weighted.square().unfold(-1, size, max(1, round(STEP * rate))).mean(-1).sum(0)
    kept = blocks[blocks > _power(ABSOLUTE_GATE)]
    if not len(kept):
        return -math.inf
    kept = kept[kept > kept.mean() * 10 ** (RELATIVE_GATE / 10)]
    return OFFSET + 10 * math.log10(float(kept.mean()))


def _power(level: float) -> float:
    return 10 ** ((level - OFFSET) / 10)


def _shelf(rate: int) -> tuple[Tensor, Tensor]:
    frequency, decibels, quality = SHELF
    k = math.tan(math.pi * min(frequency / rate, 0.49))
    high = 10 ** (decibels / 20)
    middle = high**SHELF_MIDDLE
    a0 = 1 + k / quality + k * k
    numerator = [high + middle * k / quality + k * k, 2 * (k * k - high), high - middle * k / quality + k * k]
    return _scaled(numerator, [a0, 2 * (k * k - 1), 1 - k / quality + k * k])


def _high_pass(rate: int) -> tuple[Tensor, Tensor]:
    frequency, quality = HIGH_PASS
    k = math.tan(math.pi * frequency / rate)
    a0 = 1 + k / quality + k * k
    numerator, denominator = _scaled([a0, -2 * a0, a0], [a0, 2 * (k * k - 1), 1 - k / quality + k * k])
    return numerator, denominator  # the standard's numerator is 1, -2, 1


def _scaled(numerator: list[float], denominator: list[float]) -> tuple[Tensor, Tensor]:
    first = denominator[0]
    return tuple(torch.tensor([x / first for x in side], dtype=torch.float64) for side in (numerator, denominator))  # type: ignore[return-value]
