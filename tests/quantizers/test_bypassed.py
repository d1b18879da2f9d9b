"""Bypassed: some items of a training batch pass unquantized, none in evaluation."""

import pytest
import torch

from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers import Bypassed, ResidualVQ


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


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(CodecError, match=r"share 1\.5"):
        Bypassed(4, lambda dim: ResidualVQ(dim, 1, 16), share=1.5)
