"""How much codes change when the signal hardly does: unit edit distance, and decoding and encoding again.

Unit edit distance: https://arxiv.org/abs/2209.15483
"""

from collections.abc import Callable

import numpy as np
import torch
import torchaudio
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from neuralcodecs.codec import Codec
from neuralcodecs.codes import Codes

Change = Callable[[Tensor], Tensor]
NOISE_DB = 20.0
GAIN_DB = -6.0
SPEEDS = {"faster": (21, 20), "slower": (19, 20)}
"""5 % by resampling, pitch included: the old and the new rate."""


def changes(axes: int) -> dict[str, Change]:
    """By name, what is done to a signal ``(c, *space)`` of so many axes."""
    shared: dict[str, Change] = {
        "noise": _noisy,
        "gain": lambda signal: signal * 10 ** (GAIN_DB / 20),
        "shift": lambda signal: signal[..., 1:],
    }
    if axes > 1:
        return shared
    return shared | {name: _resampled(*rates) for name, rates in SPEEDS.items()}


def distance(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Of codes ``(rows, *grid)``, 0 to 1 and more, mean over rows.

    One axis: edits (insertions, deletions, substitutions) for each code of ``one``. Several: the share of codes that
    differ, in what both grids have.
    """
    if one.ndim == 2:
        return float(np.mean([edits(a, b) / len(a) for a, b in zip(one, other, strict=True)]))
    region = tuple(slice(min(a, b)) for a, b in zip(one.shape, other.shape, strict=True))
    return float((one[region] != other[region]).mean())


def edits(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """Levenshtein's distance of two sequences."""
    column = np.arange(len(other) + 1)
    row = column.copy()
    for number, code in enumerate(one, 1):
        replaced = np.minimum(row[:-1] + (other != code), row[1:] + 1)
        # insertions run along the row: subtracting the position turns their cost into a running minimum
        row = np.minimum.accumulate(np.concatenate([[number], replaced]) - column) + column
    return int(row[-1])


def stability(codec: Codec, signal: Float[Tensor, "c *space"], codes: Codes, levels: int) -> dict[str, float]:
    """Distance of the codes of a signal to those of changed ones, and to those of the decoded signal."""
    values = codes["codes"][0].cpu().numpy()
    found = {}
    for name, change in changes(signal.ndim - 1).items():
        found[f"distance_{name}"] = distance(values, _codes(codec, change(signal), levels))
    again = _codes(codec, codec.decode(codes)[0].cpu(), levels)
    found["same_after_decoding"] = float((again == values).mean())
    return found


def _codes(codec: Codec, signal: Tensor, levels: int) -> NDArray[np.int64]:
    return codec.encode(signal[None].to(codec.device), levels)["codes"][0].cpu().numpy()


def _noisy(signal: Tensor) -> Tensor:
    noise = torch.randn(signal.shape, generator=torch.Generator().manual_seed(0))
    return signal + noise * signal.std() * 10 ** (-NOISE_DB / 20)


def _resampled(old: int, new: int) -> Change:
    return lambda signal: torchaudio.functional.resample(signal, old, new)
