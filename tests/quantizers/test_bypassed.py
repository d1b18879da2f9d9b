"""Bypassed: some items of a training batch pass unquantized, none in evaluation."""

from functools import partial

import pytest
import torch
from hyper_codecs import fresh

from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers import Bypassed, ResidualVQ
from neuralcodecs.quantizers.captioned import Captioned


def test_a_share_of_the_items_passes_in_training_only() -> None:
    torch.manual_seed(0)
    quantizer = Bypassed(4, lambda dim: ResidualVQ(dim, 2, 16), share=0.25)
    latents = torch.randn(400, 4, 3)
    quantizer(latents)
    quantizer.update()  # the first level is initialised: from now on it quantizes
    quantized = quantizer(latents)
    passed = (quantized.latents == latents).flatten(1).all(1)
    assert 60 < passed.sum() < 140
    assert torch.equal(quantized.latents[~passed], quantizer.decode(quantized.codes)[~passed])
    quantizer.eval()
    assert not (quantizer(latents).latents == latents).flatten(1).all(1).any()


def test_which_items_pass_is_a_function_of_the_seed() -> None:
    quantizer = Bypassed(4, lambda dim: ResidualVQ(dim, 1, 16))
    latents = torch.randn(50, 4, 3)
    quantizer(latents)
    quantizer.update()
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(quantizer(latents).latents)
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])


@torch.no_grad()
@pytest.mark.parametrize(("shape", "grid"), [((2, 20, 6), (6,)), ((2, 16, 8, 8), (8, 8))])
def test_side_streams_and_captions_are_those_of_the_quantizer_inside(shape: tuple, grid: tuple) -> None:
    captioned = Captioned(20, partial(ResidualVQ, codebooks=2, codebook_size=16), longest=8)
    inside = captioned.eval() if len(grid) == 1 else fresh().quantizer.eval()
    bypassed = Bypassed(inside.dim, lambda dim: inside).eval()
    latents = torch.randn(shape)
    streams = bypassed.encode_streams(latents)
    assert len(streams) == 1 + len(bypassed.side_streams(grid)) > 1
    assert all(torch.equal(a, b) for a, b in zip(streams, inside.encode_streams(latents), strict=True))
    assert torch.equal(bypassed.decode_streams(streams), inside.decode_streams(streams))
    assert bypassed.coders().keys() == inside.coders().keys() and bypassed.most_levels == inside.most_levels
    assert bypassed.longest_caption == inside.longest_caption


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(CodecError, match=r"share 1\.5"):
        Bypassed(4, lambda dim: ResidualVQ(dim, 1, 16), share=1.5)
