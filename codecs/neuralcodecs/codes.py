"""Codes: the named integer streams that a codec's output consists of, batched, with what decoding needs."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.sampling import NO_SAMPLING, Sampling

Shape = tuple[int, ...]
FREE = -1
"""Of an axis of a side stream: as long as its writer likes (a text beside a picture)."""


class Layout(NamedTuple):
    """What a stream looks like before there is one: its name, the alphabets of its rows and its grid."""

    name: str
    alphabet: Shape
    grid: Shape


Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Stream:
    """One named integer tensor of a codec's output.

    ``values``: int64 ``(b, q, *grid)``. ``alphabet``: size of the alphabet of each of the q rows.
    ``grids``: the true grid shape of each batch item; positions beyond it are padding (zeros).
    """

    name: str
    values: Tensor
    alphabet: Shape
    grids: tuple[Shape, ...]

    def item(self, index: int) -> "Stream":
        """The stream of one batch item, without padding: values ``(1, q, *grid)``."""
        region = (slice(index, index + 1), slice(None), *(slice(n) for n in self.grids[index]))
        return replace(self, values=self.values[region], grids=(self.grids[index],))


@dataclass(frozen=True)
class Codes:
    """Named streams of a batch, and the shape (samples; or height, width) of each item's signal.

    ``said``: what the file of each item says of a generative decoder's sampling; empty where none says anything.
    """

    streams: tuple[Stream, ...]
    shapes: tuple[Shape, ...]
    said: tuple[Sampling, ...] = ()

    def __iter__(self) -> Iterator[Stream]:
        return iter(self.streams)

    def __getitem__(self, name: str) -> Tensor:
        return self.stream(name).values

    def __len__(self) -> int:
        return len(self.streams)

    def stream(self, name: str) -> Stream:
        for stream in self.streams:
            if stream.name == name:
                return stream
        raise KeyError(f"no stream {name!r}; these codes have {[s.name for s in self.streams]}")

    def item(self, index: int) -> "Codes":
        """The codes of one batch item, without padding."""
        return Codes(tuple(s.item(index) for s in self.streams), (self.shapes[index],), self.said[index : index + 1])

    def items(self) -> list["Codes"]:
        return [self.item(i) for i in range(len(self.shapes))]

    @property
    def samplings(self) -> tuple[Sampling, ...]:
        """``said``, one for each item."""
        return self.said or (NO_SAMPLING,) * len(self.shapes)

    def nominal_bits(self) -> Float[Tensor, " b"]:
        """Of each item: the sum of log2(alphabet size) over all codes of all streams (float64)."""
        per_item = [
            sum(math.prod(stream.grids[i]) * math.log2(size) for stream in self for size in stream.alphabet)
            for i in range(len(self.shapes))
        ]
        return torch.tensor(per_item, dtype=torch.float64)

    @staticmethod
    def batch(items: Sequence["Codes"]) -> "Codes":
        """Join codes with the same streams, padding every grid with zeros to the longest."""
        streams = []
        for parts in zip(*items, strict=True):
            grids = tuple(grid for part in parts for grid in part.grids)
            largest = tuple(max(axis) for axis in zip(*grids, strict=True))
            values = parts[0].values.new_zeros((len(grids), len(parts[0].alphabet), *largest))
            row = 0
            for part in parts:
                rows = slice(row, row + part.values.shape[0])
                values[(rows, slice(None), *(slice(n) for n in part.values.shape[2:]))] = part.values
                row = rows.stop
            streams.append(replace(parts[0], values=values, grids=grids))
        said = tuple(way for item in items for way in item.samplings)
        shapes = tuple(shape for item in items for shape in item.shapes)
        return Codes(tuple(streams), shapes, () if set(said) == {NO_SAMPLING} else said)


def together(keys: Iterable[Key], device: torch.device) -> Iterator[tuple[Key, list[int]]]:
    """The numbers of the items that run as one batch: those of one key, on the CPU none.

    oneDNN rounds a batch differently (EnCodec 24 kHz, 8 x 2 s at 32 levels: 87 % of the latents and 76 of 38400
    codes differed) and was no faster (1.5 s against 0.9 s one by one, one thread).
    """
    groups: dict[Key, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key].append(index)
    for key, members in groups.items():
        yield from ((key, [m]) for m in members) if device.type == "cpu" else [(key, members)]
