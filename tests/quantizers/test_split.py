"""Two quantizers side by side: neither sees the other, and levels take from the second."""

from functools import partial

import pytest
import torch
from torch.nn import functional

from neuralcodecs import CodecError
from neuralcodecs.quantizers.projected import Projected
from neuralcodecs.quantizers.residual import ResidualVQ
from neuralcodecs.quantizers.split import Split


def mimi(levels: tuple[int, ...] | None = None, semantic: int = 1, acoustic: int = 3) -> Split:
    halves = [
        partial(Projected, quantizer=partial(ResidualVQ, codebooks=n, codebook_size=32), code_dim=4, bias=False)
        for n in (semantic, acoustic)
    ]
    return Split(6, *halves, levels)


def test_latents_are_the_sum_and_neither_half_sees_the_other() -> None:
    quantizer, latents = mimi().eval(), torch.randn(2, 6, 50)
    codes = quantizer.encode(latents)
    halves = quantizer.semantic(latents), quantizer.acoustic(latents)
    assert torch.equal(codes, torch.cat([half.codes for half in halves], dim=1))
    assert torch.equal(quantizer.decode(codes), halves[0].latents + halves[1].latents)
    quantizer.semantic.quantizer.bank.codebooks.neg_()
    again = quantizer.encode(latents)
    assert torch.equal(again[:, 1:], codes[:, 1:]) and not torch.equal(again[:, :1], codes[:, :1])


def test_losses_are_means_over_codebooks() -> None:
    quantizer, latents = mimi().eval(), torch.randn(2, 6, 50)
    first = quantizer.semantic(latents).losses["commitment"]
    for levels in (2, 4):
        rest = quantizer.acoustic(latents, levels - 1).losses["commitment"]
        mean = (first + (levels - 1) * rest) / levels
        torch.testing.assert_close(quantizer(latents, levels).losses["commitment"], mean)
    torch.testing.assert_close(quantizer(latents, 1).losses["commitment"], first)


def test_both_halves_learn_their_codebooks() -> None:
    quantizer, latents = mimi().train(), torch.randn(4, 6, 100)
    for _ in range(4):
        quantizer(latents)
        quantizer.update()
    assert quantizer.semantic.quantizer.bank.complete and quantizer.acoustic.quantizer.bank.complete
    quantizer(latents)
    quantizer.discard()
    before = quantizer.acoustic.quantizer.codebooks.clone()
    quantizer.update()
    assert torch.equal(quantizer.acoustic.quantizer.codebooks, before)


def test_levels_may_end_before_the_last_codebook_and_keep_the_semantic_ones() -> None:
    assert mimi((2, 3)).levels == (2, 3) and mimi().levels == (4,)
    for levels in ((), (3, 2), (2, 5), (2, 2)):
        with pytest.raises(CodecError, match="must ascend within 1 to 4"):
            mimi(levels)
    with pytest.raises(CodecError, match="must ascend within 2 to 5"):
        mimi((1, 3), semantic=2)
    with pytest.raises(CodecError, match="1 levels asked for, this quantizer has 2 that are always in use"):
        mimi(semantic=2).encode(torch.randn(1, 6, 5), 1)


def test_a_beam_is_of_the_acoustic_codes_alone() -> None:
    quantizer, latents = mimi().eval(), torch.randn(2, 6, 50)
    before = quantizer.encode(latents)
    quantizer.widen(8)
    after = quantizer.encode(latents)
    assert torch.equal(after[:, :1], before[:, :1])
    acoustic = quantizer.acoustic
    half = functional.linear(latents.mT, acoustic.inward.weight.detach()).mT
    errors = [float((acoustic.quantizer.decode(codes[:, 1:]) - half).square().mean()) for codes in (before, after)]
    assert errors[1] < errors[0]
