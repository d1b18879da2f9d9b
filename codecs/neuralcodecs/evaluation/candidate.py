"""What can be judged: a codec at each of its settings, whose every figure comes from a file written and read back."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.captions import with_found
from neuralcodecs.codec import Codec
from neuralcodecs.coding import Coding
from neuralcodecs.criteria import MetricFailure
from neuralcodecs.evaluation.complexity import Complexity, complexity
from neuralcodecs.evaluation.measure import evaluating
from neuralcodecs.files import read_codes, write_codes
from neuralcodecs.medium import Medium, SignalInfo
from neuralcodecs.pretrained import fingerprint


class Point(NamedTuple):
    """One setting of a codec. ``order`` sorts along its curve, from the lowest rate; ``levels``: of a model."""

    name: str
    order: float
    levels: int | None = None


class Coded(NamedTuple):
    """What encoding one signal took; None where a codec has no such count."""

    seconds: float
    nominal_bits: float | None = None
    entropy_bits: float | None = None
    """Under the prior that coded the file."""


class Decoded(NamedTuple):
    """A signal of the judge's medium, as long as the original. ``delay``: samples that were removed at its start."""

    signal: Float[Tensor, "c *space"]
    seconds: float
    delay: int = 0


class Candidate(ABC):
    """A codec under judgement.

    ``name``: shown, and part of paths. ``kind``: ``model`` or ``classical``. ``identity``: tells it from others of its
    name: a fingerprint, or a program's version and settings. ``suffix``: of its files.
    """

    name: str
    kind: str
    identity: str
    suffix: str
    points: tuple[Point, ...]

    @abstractmethod
    def encode(self, path: Path, signal: Float[Tensor, "c *space"], point: Point, target: Path) -> Coded:
        """Write ``target``; ``path`` is the original file and ``signal`` what the judge's medium read of it.

        Raises CodecError.
        """

    @abstractmethod
    def decode(self, source: Path, reference: Float[Tensor, "c *space"]) -> Decoded:
        """Read it back, as the judge's medium would; of ``reference`` only shape and delay are used. CodecError."""

    def histograms(self, sources: list[Path], point: Point) -> list[np.ndarray]:
        """Counts of the symbols of each codebook over coded files; none for a codec without codebooks."""
        return []

    def cost(self, shape: tuple[int, ...]) -> Complexity | None:
        """Arithmetic and parameters for a signal of ``shape``; None where nobody can count them."""
        return None


@dataclass(frozen=True)
class ModelCandidate(Candidate):
    """A codec of this package at several numbers of levels.

    Args:
        name: shown.
        codec: in evaluation mode, on its device.
        medium: the judge's; where the codec's own differs in rate or channels, decodings pass through a file of the
            original's format, as ``neuralcodecs decode`` writes it.
        levels: numbers of levels; the quantizer's own for none.
    """

    name: str
    codec: Codec
    medium: Medium
    levels: tuple[int, ...] = ()
    coding: Coding = field(init=False)
    kind = "model"
    suffix = ".ncs"

    def __post_init__(self) -> None:
        levels = [self.codec.check_levels(n) for n in (self.levels or self.codec.quantizer.levels)]
        points = tuple(Point(f"{n} level{'s' if n > 1 else ''}", float(n), n) for n in levels)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "coding", Coding(self.codec))
        object.__setattr__(self, "identity", fingerprint(self.codec).hex())

    def encode(self, path: Path, signal: Float[Tensor, "c *space"], point: Point, target: Path) -> Coded:
        own, original = self.codec.medium.read(path)
        identity = bytes.fromhex(self.identity)
        with evaluating(self.codec):
            started = time.perf_counter()
            codes = with_found(self.codec, self.codec.encode(own[None].to(self.codec.device), point.levels), path)
            write_codes(target, self.codec, codes, original, identity, coding=self.coding)
            seconds = time.perf_counter() - started
        read, _ = read_codes(target, self.codec, identity)
        if any(not torch.equal(read[s.name].cpu(), s.values.cpu()) for s in codes):
            raise AssertionError("a file that was just written reads back as other codes: a defect of this package")
        entropy = self.coding.bits(codes) if self.coding.streams else None
        return Coded(seconds, float(self.codec.bits(codes)[0]), entropy)

    def decode(self, source: Path, reference: Float[Tensor, "c *space"]) -> Decoded:
        with evaluating(self.codec):
            started = time.perf_counter()
            codes, original = read_codes(source, self.codec, bytes.fromhex(self.identity))
            signal = self.codec.decode(codes)[0].cpu()
            seconds = time.perf_counter() - started
        own = self.codec.medium
        if (own.rate, own.channels) != (self.medium.rate, self.medium.channels):
            signal = self._through_a_file(source, signal, original)
        return Decoded(signal.clamp(-1, 1), seconds)

    def _through_a_file(
        self, source: Path, signal: Float[Tensor, "c *space"], original: SignalInfo
    ) -> Float[Tensor, "d *judged"]:
        temporary = source.with_name(f"{source.stem}.decoded{self.medium.suffixes[0]}")
        try:
            self.codec.medium.write(temporary, signal, original)
            return self.medium.read(temporary)[0]
        finally:
            temporary.unlink(missing_ok=True)

    def histograms(self, sources: list[Path], point: Point) -> list[np.ndarray]:
        counts = [np.zeros(size, dtype=np.int64) for size in self.codec.quantizer.alphabet(point.levels or 1)]
        for source in sources:
            codes, _ = read_codes(source, self.codec, bytes.fromhex(self.identity))
            for count, row in zip(counts, codes["codes"][0].cpu(), strict=True):
                count += np.bincount(row.flatten().numpy(), minlength=len(count))
        return counts

    def cost(self, shape: tuple[int, ...]) -> Complexity | None:
        try:
            return complexity(self.codec, shape)
        except MetricFailure:
            return None
