"""The loudness of a piece as a token: the scale that a codec's scaler measures, in steps of decibels.

Published language models of codes use codecs without scales (MusicGen refuses others, https://arxiv.org/abs/2306.05284).
A file has the float32 itself; a model learns one of 256 levels sooner than one of 2^32 patterns.
"""

import torch
from jaxtyping import Int64
from torch import Tensor

from neuralcodecs.codes import Stream
from neuralcodecs.pieces import SCALE_ALPHABET, scale_stream

SCALE_LEVELS = 256
STEP = 0.4
"""Decibels from a level to the next, so a scale is off by 0.2 dB at most; the last level is 0 dB, the scale 1."""


def scale_levels(patterns: Int64[Tensor, "*n"]) -> Int64[Tensor, "*n"]:
    """The nearest level of each scale, given as in the side stream; what is below -102 dB, or above 0, is clipped."""
    scales = (patterns - (patterns >> 31) * SCALE_ALPHABET).int().view(torch.float32)
    steps = 20 * scales.double().log10() / STEP
    return (steps.round().long() + SCALE_LEVELS - 1).clamp(0, SCALE_LEVELS - 1)


def scales_of(levels: Int64[Tensor, " pieces"]) -> Stream:
    """The side stream of one item whose pieces have these levels."""
    scales = 10 ** ((levels.double() - SCALE_LEVELS + 1) * STEP / 20)
    return scale_stream(list(scales.float()[:, None]))
