"""What a codec makes of a few files, for people: a labelled grid of originals, decodings and differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from neuralcodecs.atomic import atomic
from neuralcodecs.bitrates import nominal_rates
from neuralcodecs.captions import with_found
from neuralcodecs.codec import Codec
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.measure import evaluating

PICTURE = "comparison.png"
MARGIN = 4
LABEL = 16
"""Height of a line of text, in pixels."""


@dataclass(frozen=True)
class Example:
    """One file: its signal, and the signal decoded at each number of levels."""

    name: str
    original: Float[Tensor, "c *space"]
    decoded: dict[int, Float[Tensor, "c *space"]]


def decode_examples(codec: Codec, files: Sequence[Path], levels: Sequence[int] | None = None) -> list[Example]:
    """Decode the readable ones of ``files`` at each number of levels (the codec's operating points by default)."""
    examples = []
    with evaluating(codec):
        for path in files:
            try:
                signal, _ = codec.medium.read(path)
            except CodecError:
                continue  # the evaluation of the same files names it
            batch = signal[None].to(codec.device)
            counts = levels or codec.quantizer.levels
            coded = {n: with_found(codec, codec.encode(batch, n), path) for n in counts}
            decoded = {n: codec.decode(codes)[0].cpu().clamp(-1, 1) for n, codes in coded.items()}
            examples.append(Example(path.stem, signal, decoded))
    return examples


def comparison(codec: Codec, examples: Sequence[Example]) -> Float[Tensor, "3 height width"]:
    """A row per example: the original, then per number of levels the decoding and its difference; RGB in [0, 1]."""
    rates = nominal_rates(codec)
    rows = []
    for example in examples:
        panels = [(example.name, codec.medium.picture(example.original))]
        for levels, decoded in example.decoded.items():
            panels.append((f"{rates[levels - 1]:.4g} {codec.medium.unit}", codec.medium.picture(decoded)))
            panels.append(("difference", codec.medium.difference(decoded, example.original)))
        rows.append(panels)
    widths = [max(row[i][1].shape[2] for row in rows) + MARGIN for i in range(len(rows[0]))]
    heights = [max(panel.shape[1] for _, panel in row) + LABEL + MARGIN for row in rows]
    sheet = Image.new("RGB", (sum(widths), sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    for y, row in zip(np.cumsum([0, *heights[:-1]]), rows, strict=True):
        for x, width, (label, panel) in zip(np.cumsum([0, *widths[:-1]]), widths, row, strict=True):
            draw.text((int(x), int(y)), label[: max(1, width // 7)], fill="black")  # the font's letters have 6 pixels
            sheet.paste(Image.fromarray(_pixels(panel)), (int(x), int(y) + LABEL))
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1).float() / 255


def write_picture(picture: Float[Tensor, "3 height width"], path: Path) -> None:
    """A picture in [0, 1] as PNG; ``path`` appears whole or not at all."""
    with atomic(path) as temporary:
        Image.fromarray(_pixels(picture)).save(temporary, "PNG")


def _pixels(picture: Float[Tensor, "3 height width"]) -> np.ndarray:
    return np.ascontiguousarray((picture * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy())
