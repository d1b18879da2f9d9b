"""Weights in half the bytes: rounded once to what 16 bits hold, then stored without loss in the smallest type.

Rounding changes a codec and its fingerprint, storing does not: what is loaded are the rounded weights, in the types
that the config makes. Priors in exact integers are never rounded, only stored in smaller types that hold them.
"""

import copy
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuralcodecs.errors import CodecError

if TYPE_CHECKING:
    from neuralcodecs.codec import Codec

ZEROS = "zeros"
"""Key in the metadata of a weights file: JSON of the tensors that are left out since they are zero throughout."""
FLOATS = "floats"
"""Key of those that are stored as integers, which they are, and are floats when loaded."""
LARGE = 1024
"""Tensors of zeros from so many elements on are left out."""
MOST_ZEROS = 2**26
"""Elements that a file may leave out: more would be memory that its size does not account for."""
_INTEGERS = (torch.uint8, torch.int16, torch.int32)


def halved(codec: "Codec") -> "Codec":
    """A copy whose weights are rounded to half precision (nearest, ties to even), in the types that they had.

    Buffers that hold integers, or values beyond half precision, stay as they are. Raises CodecError for such weights.
    """
    weights = {name for name, _ in codec.named_parameters()}
    state = codec.state_dict()
    for name, value in state.items():
        if not value.is_floating_point():
            continue
        rounded = value.half().to(value.dtype)
        fits = bool(rounded.isfinite().all())
        if name in weights and not fits:
            raise CodecError(f"{name} reaches {value.abs().max().item():.3g}, half precision 65504: save it in full")
        if fits and not _whole(value):
            state[name] = rounded
    other = copy.deepcopy(codec)
    other.load_state_dict(state)
    return other.eval()


def is_halved(codec: "Codec") -> bool:
    """Whether every weight is one that half precision holds: then nothing is lost by storing it so."""
    return all(torch.equal(p, p.half().to(p.dtype)) for p in codec.parameters())


def narrowed(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The same values in the smallest types that hold them all, and the facts for the head of their file."""
    stored: dict[str, Tensor] = {}
    zeros: dict[str, list[int]] = {}
    floats: list[str] = []
    for name, value in tensors.items():
        if value.numel() >= LARGE and not value.any():
            zeros[name] = [int(value.is_floating_point()), *value.shape]
            continue
        stored[name] = _narrow(value)
        if value.is_floating_point() and not stored[name].is_floating_point():
            floats.append(name)
    return stored, {key: json.dumps(names) for key, names in ((ZEROS, zeros), (FLOATS, floats)) if names}


def restored(stored: Mapping[str, Tensor], facts: Mapping[str, str]) -> dict[str, Tensor]:
    """All tensors of ``narrowed``; zeros that were left out take no memory.

    Raises CodecError for facts that it does not write.
    """
    try:
        zeros = {
            name: torch.zeros((), dtype=torch.float32 if floating else torch.int64).expand(shape)
            for name, (floating, *shape) in json.loads(facts.get(ZEROS, "{}")).items()
        }
        floats = {name: stored[name].float() for name in json.loads(facts.get(FLOATS, "[]"))}
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, RecursionError) as error:
        raise CodecError(f"what its head says of types is damaged ({' '.join(str(error).split())[:100]})") from error
    if sum(math.prod(value.shape) for value in zeros.values()) > MOST_ZEROS:
        raise CodecError(f"it leaves out more than {MOST_ZEROS} zeros")
    return {**zeros, **stored, **floats}


def _narrow(value: Tensor) -> Tensor:
    if value.dtype == torch.float32 and torch.equal(value, value.half().float()):
        return value.half()
    whole = value.dtype in (torch.int64, torch.int32) or (value.dtype == torch.float32 and bool(_whole(value)))
    if whole and value.numel():
        low, high = int(value.min()), int(value.max())
        kinds = (kind for kind in _INTEGERS if torch.iinfo(kind).min <= low and high <= torch.iinfo(kind).max)
        return value.to(next(kinds, value.dtype))
    return value


def _whole(value: Tensor) -> Tensor:
    """Whether all values are integers; those beyond 2**24 are not told apart from rounded ones and do not count."""
    return ((value == value.round()) & (value.abs() <= 2**24)).all()
