"""The patterns that papers name, made of an arrangement and an order."""

from neuralcodecs.lm.orders import (
    Apart,
    Delayed,
    Flat,
    Grouped,
    Masked,
    Parallel,
    Passes,
    Raster,
    Shuffled,
    Stacked,
    Staggered,
    Wavefront,
)
from neuralcodecs.lm.patterns import Pattern


def flat() -> Pattern:
    """One code after the other; raster for pictures."""
    return Pattern(Flat(), Raster())


def parallel() -> Pattern:
    """All levels of a position at once."""
    return Pattern(Parallel(), Raster())


def delay(delays: list[int] | None = None) -> Pattern:
    """Level k ``delays[k]`` steps late (MusicGen); None: k."""
    return Pattern(Delayed(delays), Raster())


def partially_flat(levels: int) -> Pattern:
    """The first level of a position, then its others together."""
    return Pattern(Grouped([0] + [1] * (levels - 1)), Raster())


def coarse_first(levels: int) -> Pattern:
    """The first level of all positions, then all others of each (VALL-E)."""
    return Pattern(Passes([0] + [1] * (levels - 1)), Raster())


def musiclm(levels: int, group: int = 2) -> Pattern:
    """``group`` levels of all positions one by one, then the next levels (MusicLM)."""
    return Pattern(Passes([k // group for k in range(levels)], flat=True), Raster())


def stack() -> Pattern:
    """One code after the other, one cache entry for each frame (Stack)."""
    return Pattern(Stacked(), Raster())


def stack_and_delay(stride: int = 2) -> Pattern:
    """Frames far apart in time side by side, each a level behind the one before, one cache entry for each frame."""
    return Pattern(Staggered(), Apart(stride))


def wavefront(window: int) -> Pattern:
    """Rows of a picture side by side (ZipAR), levels one by one."""
    return Pattern(Flat(), Wavefront(window))


def masked(steps: int, seed: int = 0) -> Pattern:
    """Random positions in ``steps`` groups that grow (MaskGIT), levels at once."""
    return Pattern(Parallel(), Masked(steps, seed))


def shuffled(seed: int = 0) -> Pattern:
    """Positions in random order, levels one by one."""
    return Pattern(Flat(), Shuffled(seed))
