"""Signals as users have them (tensors, arrays, mono sound without a channel axis) as codecs take them."""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from neuralcodecs.codec import Codec
from neuralcodecs.errors import CodecError

Signal = Tensor | NDArray[np.floating]
"""``(c, *space)`` of floats in [-1, 1] at the codec's rate; ``(*space)`` where the codec has one channel."""

SPACE = {1: "samples", 2: "height, width", 3: "frames, height, width"}


def as_batch(signal: Signal, codec: Codec) -> Float[Tensor, "1 c *space"]:
    """One signal as a batch on the codec's device. Raises CodecError for what is no signal of the codec."""
    given, channels, axes = torch.as_tensor(signal), codec.encoder.channels, len(codec.encoder.strides)
    if not given.is_floating_point():
        raise CodecError(f"a signal of {given.dtype}: give floats, from -1 to 1")
    if channels == 1 and given.ndim == axes:
        given = given[None]
    if given.ndim != axes + 1 or len(given) != channels:
        raise CodecError(
            f"a signal of shape {tuple(given.shape)}: this codec takes ({channels}, {SPACE[axes]}), several are a list"
        )
    if not given.isfinite().all():
        raise CodecError("a signal has values that are not finite: repair it")
    return given[None].to(codec.device, next(codec.parameters()).dtype)
