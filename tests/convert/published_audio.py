"""Real sound and what tests of all converters demand of it."""

from functools import cache

import torch
from conftest import SAMPLES
from torch import Tensor

from neuralcodecs import Codes
from neuralcodecs.audio.medium import Audio

TOLERANCE = 1e-4  # of the waveform, in absolute terms


@cache
def recordings(rate: int) -> dict[str, Tensor]:
    paths = sorted((SAMPLES / "speech" / "train").glob("kathleen*.flac"))[:2]
    start = rate // 2
    speech = torch.stack([Audio(rate).read(path)[0][:, start : start + rate * 7 // 6] for path in paths])
    return {"speech": speech, "music": Audio(rate, 2).read(SAMPLES / "music" / "loop_compus.flac")[0][None]}


def speech(length: int, rate: int = 24000) -> Tensor:
    """Two speakers from half a second on: at most 1.16 s, ``(2, 1, length)``."""
    assert length <= rate * 7 // 6
    return recordings(rate)["speech"][..., :length]


def music(length: int, rate: int = 48000, channels: int = 2) -> Tensor:
    return recordings(rate)["music"][:, :channels, 20000 : 20000 + length]


def assert_many_codes_used(codes: Codes) -> None:
    """A quarter as many as positions or as there are, or more, at every level: in pauses neighbours share the first."""
    rows = codes["codes"].transpose(0, 1).flatten(1)
    alphabet = min(codes.stream("codes").alphabet)
    assert min(len(row.unique()) for row in rows) > min(rows.shape[1], alphabet) / 4
