"""Weights in half the bytes: rounded once to what 16 bits hold, then stored without loss in few bytes.

Rounding changes a codec and its fingerprint, storing does not: what is loaded are the rounded weights, in the types
that the config makes. Priors in exact integers are never rounded, only stored in as few bits as they need.
"""

import copy
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError

if TYPE_CHECKING:
    from neuralcodecs.codec import Codec

ZEROS = "zeros"
"""Key in the metadata of a weights file: JSON of the tensors that are left out since they are zero throughout."""
PACKED = "packed"
"""Key of those that hold integers, stored in as few bits as these need: floating or not, shift, lowest, bits, shape.

Value n is ``(lowest + number n) << shift``; number n has the ``bits`` bits from ``n * bits`` on, the lowest first, as
bits of bytes from the lowest on.
"""
LARGE = 1024
"""Smaller tensors are neither left out nor packed."""
MOST_ZEROS = 2**26
"""Elements that a file may leave out: more would be memory that its size does not account for."""
MOST_BITS = 48


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
    """The same values in few bytes, and the facts for the head of their file."""
    stored: dict[str, Tensor] = {}
    zeros: dict[str, list[int]] = {}
    packed: dict[str, list[int]] = {}
    for name, value in tensors.items():
        floating = int(value.is_floating_point())
        if value.numel() < LARGE or value.dtype not in (torch.float32, torch.int64, torch.int32):
            stored[name] = _half(value)
        elif not value.any():
            zeros[name] = [floating, *value.shape]
        elif bool(_whole(value)):
            stored[name], facts = pack(value.long().cpu().numpy().ravel())
            packed[name] = [floating, *facts, *value.shape]
        else:
            stored[name] = _half(value)
    return stored, {key: json.dumps(names) for key, names in ((ZEROS, zeros), (PACKED, packed)) if names}


def restored(stored: Mapping[str, Tensor], facts: Mapping[str, str]) -> dict[str, Tensor]:
    """All tensors of ``narrowed``; zeros that were left out take no memory.

    Raises CodecError for facts that it does not write.
    """
    try:
        zeros = {
            name: torch.zeros((), dtype=torch.float32 if floating else torch.int64).expand(shape)
            for name, (floating, *shape) in json.loads(facts.get(ZEROS, "{}")).items()
        }
        packed = {
            name: unpack(stored[name], shift, low, bits, tuple(shape)).to(torch.float32 if floating else torch.int64)
            for name, (floating, shift, low, bits, *shape) in json.loads(facts.get(PACKED, "{}")).items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OverflowError, RecursionError) as error:
        raise CodecError(f"what its head says of tensors is damaged ({' '.join(str(error).split())[:100]})") from error
    if sum(math.prod(value.shape) for value in zeros.values()) > MOST_ZEROS:
        raise CodecError(f"it leaves out more than {MOST_ZEROS} zeros")
    return {**zeros, **stored, **packed}


def pack(values: Int64[np.ndarray, " n"]) -> tuple[UInt8[Tensor, " bytes"], tuple[int, int, int]]:
    """Integers, not all zero, as bytes; with the shift, the lowest and the bits of each that ``unpack`` needs."""
    union = int(np.bitwise_or.reduce(values))
    shift = (union & -union).bit_length() - 1
    values = values >> shift
    low = int(values.min())
    values = values - low
    bits = max(1, int(values.max()).bit_length())
    columns = np.empty((len(values), bits), dtype=np.uint8)
    for bit in range(bits):
        columns[:, bit] = values >> bit & 1
    return torch.from_numpy(np.packbits(columns, bitorder="little")), (shift, low, bits)


def unpack(data: UInt8[Tensor, " bytes"], shift: int, low: int, bits: int, shape: Shape) -> Int64[Tensor, "*shape"]:
    """What ``pack`` was given. Raises ValueError unless data and shape fit each other."""
    count = math.prod(shape)
    if not 1 <= bits <= MOST_BITS or not 0 <= shift <= MOST_BITS or min(shape, default=1) < 0:
        raise ValueError(f"{bits} bits, shift {shift}, shape {shape}")
    if data.dtype != torch.uint8 or data.shape != (-(-count * bits // 8),):
        raise ValueError(f"{tuple(data.shape)} bytes of {data.dtype} for {count} numbers of {bits} bits")
    columns = np.unpackbits(data.numpy(), count=count * bits, bitorder="little").reshape(count, bits)
    values = np.full(count, low, dtype=np.int64)
    for bit in range(bits):
        values += columns[:, bit].astype(np.int64) << bit
    return torch.from_numpy(values << shift).view(shape)


def _half(value: Tensor) -> Tensor:
    exact = value.dtype == torch.float32 and torch.equal(value, value.half().float())
    return value.half() if exact else value


def _whole(value: Tensor) -> Tensor:
    """Whether all are integers that a float holds exactly, or of at most ``MOST_BITS`` bits where they are integers."""
    if value.is_floating_point():
        return ((value == value.round()) & (value.abs() <= 2**24)).all()
    return (value.long().abs() < 2 ** (MOST_BITS - 1)).all()
