"""What a .ncs file says of itself, without any model."""

import math
from pathlib import Path
from typing import Any

from neuralcodecs.bitstream.coarse import coarse_of
from neuralcodecs.bitstream.container import Reader
from neuralcodecs.errors import CodecError

CODERS = {
    0: "fixed width",
    1: "static prior",
    2: "adaptive prior",
    3: "learned prior",
    4: "masked prior",
    5: "coarse levels",
    6: "layered priors",
}
"""By the number in the header; others belong to codecs that bring their own."""


def describe(path: Path) -> dict[str, Any]:
    """Facts by name, in the order in which one would read them; all chunks are checked.

    ``written`` and ``nominal`` are kbit/s where the signal has a rate, bits per position of the signal otherwise.
    """
    if not path.is_file():
        raise CodecError(f"no file {path}")
    with path.open("rb") as file:
        reader = Reader(file)
        infos = list(reader.checked())
        coarse = coarse_of(reader)
        header = reader.header  # after the chunks: one written to a pipe has its lengths at the end
    positions = max(1, math.prod(header.shape))
    nominal = sum(math.prod(s.grid) * math.log2(size) for s in header.streams for size in s.alphabet)
    scale, unit = (header.rate / 1000 / positions, "kbit/s") if header.rate else (1 / positions, "bit/pixel")
    facts: dict[str, Any] = {
        "model": header.fingerprint.hex(),
        "bytes": path.stat().st_size,
        "chunks": len(infos),
        "rate": header.rate,
        "channels": header.channels,
        "shape": list(header.shape),
        "seconds": round(header.shape[0] / header.rate, 3) if header.rate else None,
        "original": list(header.original) if header.original else None,
        "nominal": f"{nominal * scale:.3f} {unit}",
        "written": f"{8 * path.stat().st_size * scale:.3f} {unit}",
    }
    facts |= {f"metadata {key}": value for key, value in (header.metadata or {}).items()}
    for index, stream in enumerate(header.streams):
        sizes = sorted(set(stream.alphabet))
        facts[f"stream {stream.name}"] = f"{len(stream.alphabet)} x {sizes} on a grid of {list(stream.grid)}"
        coder = CODERS.get(stream.coder, f"the codec's coder {stream.coder}")
        facts[f"coder of {stream.name}"] = f"{coder} {stream.prior.hex()}".rstrip()
        bits = math.prod(stream.grid) * sum(map(math.log2, stream.alphabet))
        facts[f"bits of {stream.name}"] = f"{bits:.0f} nominal, {8 * sum(i.sizes[index] for i in infos)} written"
    if coarse is not None:
        levels = len(header.streams[0].alphabet)
        facts["levels sent"] = f"{coarse.sent} of {levels}"
        facts["levels predicted"] = "the likeliest" if coarse.seed is None else f"drawn with seed {coarse.seed}"
    return {name: value for name, value in facts.items() if value is not None}
