"""What a language model of codes says of files that it has not seen."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from neuralcodecs.errors import CodecError
from neuralcodecs.lm.language import Language

Figures = dict[str, Any]


def score(language: Language, files: Sequence[Path]) -> Figures:
    """Bits per second (pixel, byte) of all files together, beside the nominal rate; bits of a code of each row.

    Raises CodecError when no file can be read.
    """
    training = language.training
    language.eval()
    bits, count, extent, failed = torch.zeros(len(language.model.alphabet), dtype=torch.float64), 0, 0.0, []
    for path in files:
        try:
            for codes in language.material.read_all(path):
                found = language.information(codes)
                bits, count, extent = bits + found.bits, count + found.positions, extent + found.extent
        except CodecError as error:
            failed.append(str(error))
    language.train(training)
    if not count:
        raise CodecError(f"nothing to measure: {failed[0] if failed else 'no files'}")
    unit = language.material.unit
    return {
        f"bits_per_{unit}": float(bits.sum()) / extent,
        f"nominal_bits_per_{unit}": language.nominal * count / extent,
        "bits_per_code": float(bits.sum()) / (count * len(bits)),
        "bits_per_code_of_row": (bits / count).tolist(),
        "nominal_bits_per_code_of_row": [math.log2(size) for size in language.model.alphabet],
        f"{unit}s": extent,
        "files": len(files) - len(failed),
        "unreadable": failed,
        "window": list(language.window),
    }


def table(figures: Figures) -> str:
    """The figures that are one number, a line each."""
    rows = {name: value for name, value in figures.items() if type(value) in (int, float)}
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value:.6g}" for name, value in rows.items())
