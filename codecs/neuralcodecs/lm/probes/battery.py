"""All probes of one codec, and several codecs side by side: docs/probe.md says what each figure is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from neuralcodecs.codec import Codec
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.measure import evaluating
from neuralcodecs.lm.probes.counts import bpe_ratio, conditional_entropy, usage
from neuralcodecs.lm.probes.linear import features, linear_probe
from neuralcodecs.lm.probes.small_lm import model_bits
from neuralcodecs.lm.probes.stability import stability
from neuralcodecs.lm.suitable import check_suitable

BUDGETS = {1: 3600.0, 2: 2e7}
"""Seconds of sound, or pixels, that the small language model is trained on, by the number of the signal's axes."""
UNITS = {1: "second", 2: "pixel"}

TEXTS = ("unreadable", "fingerprint")
"""Figures that are no numbers."""
BETTER = {
    "model_bits": "lower",
    "usage": "higher",
    "entropy_of": "higher",
    "codes_per_bpe": "higher",
    "distance": "lower",
    "same": "higher",
    "probe_accuracy": "higher",
}
"""Which way a figure whose name begins so is good, at equal quality of what is decoded."""

Figures = dict[str, Any]


@dataclass
class _Readings:
    """What is kept of each file that can be read."""

    grids: list[Tensor] = field(default_factory=list)
    extents: list[float] = field(default_factory=list)
    nominal: list[float] = field(default_factory=list)
    steady: list[dict[str, float]] = field(default_factory=list)
    vectors: list[Tensor] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def probe(
    codec: Codec,
    files: Sequence[Path],
    labels: Mapping[Path, str],
    levels: int | None = None,
    budget: float | None = None,
) -> Figures:
    """Figures by name. ``labels``: of files, by resolved path; may be empty. ``budget``: see ``BUDGETS``.

    What needs training (language model, byte pairs) learns from every other file and is judged on the rest. Raises
    CodecError when fewer than two files can be read.
    """
    check_suitable(codec)
    levels, axes = codec.check_levels(levels), len(codec.encoder.strides)
    with evaluating(codec):
        read = _read(codec, files, labels, levels)
    if len(read.grids) < 2:
        raise CodecError(f"{len(read.grids)} files can be read, a probe needs 2 ({'; '.join(read.failed[:1])})")
    alphabet, unit, total = codec.quantizer.codebook_sizes[:levels], UNITS[axes], sum(read.extents)
    arrays = [grid.numpy() for grid in read.grids]
    positions = sum(grid[0].numel() for grid in read.grids)

    def extent(grid: Shape) -> float:
        return total / positions * math.prod(grid)

    amount = BUDGETS[axes] if budget is None else budget
    bits = model_bits(read.grids[::2], read.grids[1::2], alphabet, amount, extent, codec.device)
    return {
        "files": len(read.grids),
        f"{unit}s": total,
        "levels": levels,
        f"codes_per_{unit}": positions * levels / total,
        f"nominal_bits_per_{unit}": sum(read.nominal) / total,
        f"model_bits_per_{unit}": bits,
        **usage(arrays, alphabet),
        "conditional_entropy_bits": conditional_entropy(arrays, alphabet),
        "codes_per_bpe_token": bpe_ratio(arrays[::2], arrays[1::2], alphabet),
        **{name: sum(one[name] for one in read.steady) / len(read.steady) for name in read.steady[0]},
        **linear_probe(read.vectors, read.labels),
        "unreadable": read.failed,
    }


@torch.no_grad()
def _read(codec: Codec, files: Sequence[Path], labels: Mapping[Path, str], levels: int) -> _Readings:
    read = _Readings()
    for path in tqdm(files, "probe", unit="file", disable=None, leave=False):
        try:
            signal, _ = codec.medium.read(path)
        except CodecError as error:
            read.failed.append(str(error))
            continue
        codes = codec.encode(signal[None].to(codec.device), levels)
        read.grids.append(codes["codes"][0].cpu())
        read.nominal.append(float(codec.bits(codes)))
        read.extents.append(codec.medium.extent(tuple(signal.shape[1:])))
        read.steady.append(stability(codec, signal, codes, levels))
        if path.resolve() in labels:
            read.vectors.append(features(codec.quantizer.decode(codes["codes"])[0].cpu()))
            read.labels.append(labels[path.resolve()])
    return read


def table(results: Mapping[str, Figures]) -> str:
    """Figures in rows, models in columns, and which way is better."""
    names = list(dict.fromkeys(name for figures in results.values() for name in figures if name not in TEXTS))
    cells = [["", *results, "better"]]
    for name in names:
        better = next((way for begin, way in BETTER.items() if name.startswith(begin)), "")
        cells.append([name, *(f"{r[name]:.4g}" if name in r else "-" for r in results.values()), better])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for name, *values in cells:
        row = [name.ljust(widths[0]), *(v.rjust(w) for v, w in zip(values, widths[1:], strict=True))]
        lines.append("  ".join(row).rstrip())
    return "\n".join(lines)
