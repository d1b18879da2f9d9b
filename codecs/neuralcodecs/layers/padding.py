"""What surrounds a signal in a convolution: zeros, its reflection, or its last values.

The rule for signals shorter than their reflection is that of EnCodec's code (https://arxiv.org/abs/2210.13438).
"""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.layers.rows import are_rows, padded

PadMode = Literal["constant", "reflect", "replicate"]


def pad(
    signal: Float[Tensor, "b c *space"], amounts: list[tuple[int, int]], mode: PadMode
) -> Float[Tensor, "b c *padded"]:
    """Add ``(left, right)`` positions to each axis after the channels.

    A reflection longer than the signal allows is made of the signal followed by zeros, of which as many positions
    are then cut from the end as zeros were added (EnCodec's rule).
    """
    if not any(left or right for left, right in amounts):
        return signal
    if mode == "constant" and are_rows(signal):
        return padded(signal, *amounts[0], reflect=False)
    if mode != "reflect":
        return F.pad(signal, _last_axis_first(amounts), mode)
    lengths = signal.shape[2:]
    missing = [max(0, max(sides) - n + 1) for n, sides in zip(lengths, amounts, strict=True)]
    if not any(missing) and are_rows(signal):
        return padded(signal, *amounts[0], reflect=True)
    if not any(missing):
        return F.pad(signal, _last_axis_first(amounts), mode)
    longer = F.pad(signal, _last_axis_first([(0, m) for m in missing]))
    wider = F.pad(longer, _last_axis_first(amounts), mode)
    kept = (slice(0, n - m) for n, m in zip(wider.shape[2:], missing, strict=True))
    return wider[(slice(None), slice(None), *kept)]


def pad_to(signal: Float[Tensor, "b c *space"], shape: tuple[int, ...]) -> Float[Tensor, "b c *padded"]:
    """Repeat the last values of each axis up to ``shape``."""
    return pad(signal, [(0, want - n) for n, want in zip(signal.shape[2:], shape, strict=True)], "replicate")


def _last_axis_first(amounts: list[tuple[int, int]]) -> list[int]:
    return [side for sides in reversed(amounts) for side in sides]
