"""Batch = single, for every shipped config, at reduced width: codes exactly, signals to rounding, both directions."""

from pathlib import Path

import pytest
import torch
from narrowing import CODECS, WIDTHS, narrow

from neuralcodecs import Codec, Codes
from neuralcodecs.pretrained import build

CAPS = WIDTHS | {"codebook_size": 24, "segment": 4000}


def shapes(codec: Codec) -> list[tuple[int, ...]]:
    """Ragged: one pair of equals, one smaller than a stride, sizes that no stride divides."""
    if len(codec.encoder.strides) == 1:
        return [(9001,), (4321,), (9001,), (17,)]
    sides = [(64, 48), (33, 50), (64, 48), (16, 17)]
    return [(8,) * (len(codec.encoder.strides) - 2) + side for side in sides]


@torch.no_grad()
def learned(codec: Codec) -> Codec:
    """Codebooks from data, as training makes them: at their initial values all codes may be equal."""
    codec.train()
    shape = max(shapes(codec))
    for _ in range(len(codec.quantizer.codebook_sizes) + 1):
        codec.analyse(0.3 * torch.randn(4, codec.encoder.channels, *shape))
        codec.quantizer.update()
        if codec.quantizer.settled:  # those that learn by gradient alone: at once
            break
    return codec.eval()


@pytest.mark.parametrize("path", CODECS, ids=lambda path: path.stem)
def test_a_batch_is_its_items(path: Path) -> None:
    codec = learned(build(narrow(CODECS[path], CAPS), path.name))
    items = [0.3 * torch.randn(1, codec.encoder.channels, *shape) for shape in shapes(codec)]
    largest = [max(axis) for axis in zip(*shapes(codec), strict=True)]
    batch = torch.full((len(items), codec.encoder.channels, *largest), 7.0)  # padding that would be noticed
    for row, item in zip(batch, items, strict=True):
        row[(slice(None), *(slice(n) for n in item.shape[2:]))] = item[0]
    for levels in {codec.quantizer.levels[0], codec.quantizer.levels[-1]}:
        singles = [codec.encode(item, levels) for item in items]
        together = codec.encode(batch, levels, [tuple(item.shape[2:]) for item in items])
        assert len(together["codes"].unique()) > 1
        for single, item in zip(singles, together.items(), strict=True):
            for one, other in zip(single, item, strict=True):
                assert torch.equal(one.values, other.values) and one.grids == other.grids
        decoded = codec.decode(Codes.batch(singles))
        for row, single in zip(decoded, singles, strict=True):
            alone = codec.decode(single)[0]
            inside = (slice(None), *(slice(n) for n in alone.shape[1:]))
            assert (row[inside] - alone).abs().max() <= 1e-5 * max(1.0, float(alone.abs().max()))
            rest = row.clone()
            rest[inside] = 0
            assert not rest.any()
