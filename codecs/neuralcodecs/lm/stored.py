"""Codes that were stored: rows of a corpus, and whether codes are some that a codec gives."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from neuralcodecs.codec import Codec
from neuralcodecs.codes import Codes, Stream
from neuralcodecs.errors import CodecError


def check_codes(codec: Codec, levels: int, codes: Codes) -> None:
    """Raises CodecError for codes that are not those of one signal of the codec at so many levels."""
    if len(codes.shapes) != 1:
        raise CodecError(f"codes of {len(codes.shapes)} items: give 1 item")
    found = {stream.name: stream.values[0] for stream in codes}
    for name, alphabet, grid in codec.layouts(codes.shapes[0], levels):
        wanted = (len(alphabet), *grid)
        if name not in found or found[name].shape != wanted:
            has = tuple(found[name].shape) if name in found else "none"
            raise CodecError(f"{name} of shape {has} for a signal of {codes.shapes[0]}: this codec has {wanted} there")
        sizes = torch.tensor(alphabet, device=found[name].device).view(-1, *(1,) * len(grid))
        if not ((found[name] >= 0) & (found[name] < sizes)).all():
            raise CodecError(f"{name} beyond the alphabets {sorted(set(alphabet))} of this codec: it is of another one")


def codes_of_row(codec: Codec, levels: int, identity: str, row: Mapping[str, Any]) -> Codes:
    """The codes in a row of a corpus that ``neuralcodecs tokenize`` made.

    ``identity``: the codec's fingerprint in hex. Raises CodecError for a row of another codec or other levels.
    """
    try:
        made, shape = (row["fingerprint"], row["levels"]), tuple(int(n) for n in row["signal_shape"])
        if made != (identity, levels):
            raise CodecError(f"codes of model {made[0]} at {made[1]} levels, not {identity} at {levels}")
        streams = []
        for name, alphabet, grid in codec.layouts(shape, levels):
            values = torch.from_numpy(np.array(row[name], dtype=np.int64)).view(1, len(alphabet), *grid)
            streams.append(Stream(name, values, alphabet, (grid,)))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CodecError(f"no row of a corpus of codes ({type(error).__name__}: {reason}): tokenize again") from error
    return Codes(tuple(streams), (shape,))
