"""What priors save on real files: nominal, static, adaptive, learned in float, in exact integers, and really written.

Every figure is of the main stream's codes alone: side streams and the container are in ``neuralcodecs evaluate``.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor
from tqdm import tqdm

from neuralcodecs.atomic import atomic
from neuralcodecs.codec import Codec
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.measure import evaluating
from neuralcodecs.learned_coders import coder_of
from neuralcodecs.priors.counted import AdaptivePrior, StaticPrior
from neuralcodecs.priors.grid import rows_together
from neuralcodecs.priors.integer import Sealed
from neuralcodecs.priors.learned import Exported, LearnedPrior
from neuralcodecs.priors.prior import table_bits


class Coded(NamedTuple):
    """Codes ``(1, q, *grid)`` of a file, on the CPU, and the shape of its signal."""

    values: Tensor
    shape: Shape

    def pieces(self) -> Iterator[Int64[Tensor, "1 q *grid"]]:
        """What the float network and its export are measured on; bounds memory."""
        yield from self.values.split(rows_together(tuple(self.values.shape[2:])), 2)


@dataclass(frozen=True)
class Rates:
    """Of all files at one number of levels, in the unit of the medium; ``loss``: share that rounding costs."""

    levels: int
    files: int
    nominal: float
    static: float
    adaptive: float
    learned: float
    integer: float
    written: float

    @property
    def loss(self) -> float:
        return self.integer / self.learned - 1


def encode_files(codec: Codec, files: Sequence[Path], levels: Sequence[int]) -> dict[int, list[Coded]]:
    """Codes of files at each number of levels; unreadable files are left out, CodecError where none is left."""
    coded: dict[int, list[Coded]] = {n: [] for n in levels}
    reason = "the list is empty"
    with evaluating(codec):
        for path in tqdm(files, desc="encode", unit="file", disable=None, leave=False):
            try:
                signal, _ = codec.medium.read(path)
            except CodecError as error:
                reason = str(error)
                continue
            for n in levels:
                codes = codec.encode(signal[None].to(codec.device), n)["codes"].cpu()
                coded[n].append(Coded(codes, tuple(signal.shape[1:])))
    if not all(coded.values()):
        raise CodecError(f"no file could be encoded: {reason}")
    return coded


def count(codec: Codec, coded: Sequence[Coded]) -> StaticPrior:
    """Tables of the codes of a training set at all levels."""
    prior = StaticPrior(tuple(codec.quantizer.codebook_sizes))
    for file in coded:
        prior.count(file.values.flatten(2))
    return prior


def measure(
    codec: Codec, coded: Mapping[int, Sequence[Coded]], static: StaticPrior, model: LearnedPrior, exported: Sealed
) -> list[Rates]:
    """The rates of test files at each number of levels; ``exported``: what ``model`` exports."""
    return [_rates(codec, n, files, static, model, exported) for n, files in coded.items()]


def exported_bits(model: LearnedPrior, exported: Sealed, files: Sequence[Coded]) -> Exported:
    """What the codes of files take with the float network and with its export, each on its own device."""
    device, floats, integers = next(model.parameters()).device, 0.0, 0.0
    for file in files:
        for piece in file.pieces():
            with torch.no_grad():
                floats += float(model.code_bits(piece.to(device)).double().sum())
            integers += exported.ideal_bits(piece.to(exported.answer.device))
    return Exported(exported, floats, integers)


def table(rates: Sequence[Rates], unit: str) -> str:
    """The rates as text, with the saving of each prior in percent of the nominal rate."""
    names = ("nominal", "static", "adaptive", "learned", "integer", "written")
    lines = [["levels", *(f"{name} {unit}" for name in names), "export loss"]]
    for rate in rates:
        values = [getattr(rate, name) for name in names]
        cells = [f"{value:.3f}" + (f" ({1 - value / rate.nominal:.1%})" if k else "") for k, value in enumerate(values)]
        lines.append([str(rate.levels), *cells, f"{rate.loss:.4%}"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def write_rates(rates: Sequence[Rates], unit: str, path: Path, **facts: object) -> None:
    """The rates as JSON."""
    settings = [asdict(rate) | {"loss": rate.loss} for rate in rates]
    with atomic(path) as temporary:
        temporary.write_text(json.dumps({**facts, "unit": unit, "settings": settings}, indent=1) + "\n")


def _rates(
    codec: Codec, levels: int, files: Sequence[Coded], static: StaticPrior, model: LearnedPrior, exported: Sealed
) -> Rates:
    bits = dict.fromkeys(("nominal", "static", "adaptive", "learned", "integer", "written"), 0.0)
    coder = coder_of(exported, exported.alphabet)
    adaptive = [AdaptivePrior((size,)) for size in codec.quantizer.codebook_sizes[:levels]]
    for file in files:
        whole = file.values.flatten(2)
        bits["nominal"] += whole.shape[2] * sum(map(math.log2, codec.quantizer.codebook_sizes[:levels]))
        for level, prior in enumerate(adaptive):
            row = whole[:, level : level + 1]
            units = static.tables[level].diff()[row.flatten()]
            bits["static"] += float((24 - units.double().log2()).sum())
            bits["adaptive"] += table_bits(prior, row)
        bits["written"] += 8 * len(coder.encode(file.values[0], {}))
    _, bits["learned"], bits["integer"] = exported_bits(model, exported, files)
    extent = sum(codec.medium.extent(file.shape) for file in files)
    unit = codec.medium.bitrate(1.0, files[0].shape) * codec.medium.extent(files[0].shape)
    return Rates(levels, len(files), **{name: value * unit / extent for name, value in bits.items()})
