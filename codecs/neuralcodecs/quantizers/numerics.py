"""What quantizers share: float32 at least, exact straight-through and checked levels."""

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.errors import CodecError


def at_least_float32(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """float32 for half precision, float64 left alone: codes must not depend on what the encoder's matmuls ran in."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def straight_through(latents: Float[Tensor, "*shape"], quantized: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The value of ``quantized`` to the last bit, with the gradient of ``latents``.

    The usual ``x + (q - x).detach()`` rounds twice, so that what is trained differs from what is decoded.
    """
    return quantized.detach() + (latents - latents.detach())


def checked_levels(levels: int | None, available: int) -> int:
    """``levels``, or all that are ``available`` when None; raises CodecError when out of range."""
    if levels is None:
        return available
    if not 1 <= levels <= available:
        raise CodecError(f"{levels} levels asked for, this quantizer has 1 to {available}")
    return levels
