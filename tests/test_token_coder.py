"""Payloads of any prior decode to the codes that went in; damaged ones are refused."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neuralcodecs.bitstream.alphabets import digits_of, join, split
from neuralcodecs.errors import CodecError
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer
from neuralcodecs.priors.counted import AdaptivePrior, StaticPrior
from neuralcodecs.token_coder import LaneCoder, StaticCoder, TokenCoder, lanes_for

ALPHABET = (20, 1, 300)


def static_tables() -> Tensor:
    prior = StaticPrior(ALPHABET)
    prior.count(random_codes(1000, 9)[None])
    return prior.tables


CODERS: dict[str, Callable[[int | None], TokenCoder]] = {
    "static tables": lambda lanes: StaticCoder(static_tables()),
    "static": lambda lanes: LaneCoder(StaticPrior(ALPHABET), lanes),
    "adaptive": lambda lanes: LaneCoder(AdaptivePrior(ALPHABET), lanes),
    "parallel": lambda lanes: LaneCoder(ParallelTransformer(ALPHABET, 8, 2, 1, 5).export(), lanes),
    "factorised": lambda lanes: LaneCoder(FactorisedTransformer(ALPHABET, 8, 2, 1, 5).export(), lanes),
}


def random_codes(positions: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(0, size, (positions,), generator=generator) for size in ALPHABET])


@pytest.mark.parametrize("kind", sorted(CODERS))
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 40), st.sampled_from([None, 1, 2, 7, 100]), st.integers(1, 3), st.integers(0, 2**31))
def test_round_trip(kind: str, positions: int, lanes: int | None, levels: int, seed: int) -> None:
    coder = CODERS[kind](lanes)
    codes = random_codes(positions, seed)[:levels]
    data = coder.encode(codes)
    assert torch.equal(coder.decode(data, levels, positions), codes)


@pytest.mark.parametrize("kind", sorted(CODERS))
def test_damage_is_refused_and_never_crashes(kind: str) -> None:
    coder = CODERS[kind](3)
    codes = random_codes(60, 1)
    data = coder.encode(codes)
    rng = np.random.default_rng(0)
    for damaged in (data[:-4], data[:-1], data + b"\0\0\0\0", data[:4], b""):
        with pytest.raises(CodecError):
            coder.decode(damaged, 3, 60)
    for _ in range(10):
        try:
            found = coder.decode(rng.bytes(len(data)), 3, 60)
        except CodecError:
            continue
        assert bool((found.amax(1) < torch.tensor(ALPHABET)).all())
    with pytest.raises(CodecError):
        coder.decode(data, 3, 59)
    with pytest.raises(CodecError):
        coder.decode(data, 4, 60)


@pytest.mark.parametrize("kind", sorted(CODERS))
def test_codes_outside_the_alphabet_are_refused(kind: str) -> None:
    codes = random_codes(10, 0)
    codes[0, 3] = 20
    with pytest.raises(CodecError):
        CODERS[kind](1).encode(codes)


@pytest.mark.parametrize("kind", [ParallelTransformer, FactorisedTransformer])
def test_conditions_are_cut_with_the_codes(kind: type[ParallelTransformer] | type[FactorisedTransformer]) -> None:
    coder = LaneCoder(kind(ALPHABET, 8, 2, 1, 5, conditions=(4,)).export(), 3)
    codes, cond = random_codes(20, 0), torch.arange(20)[None] % 4
    data = coder.encode(codes, cond)
    assert torch.equal(coder.decode(data, 3, 20, cond), codes)
    for wrong in (None, cond[:, :9]):
        with pytest.raises(CodecError, match="conditions"):
            coder.decode(data, 3, 20, wrong)
        with pytest.raises(CodecError, match="conditions"):
            coder.encode(codes, wrong)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", [AdaptivePrior, StaticPrior, ParallelTransformer, FactorisedTransformer])
def test_what_one_device_writes_the_other_reads(kind: type[nn.Module]) -> None:
    prior = kind(ALPHABET)
    prior = prior.export() if kind in (ParallelTransformer, FactorisedTransformer) else prior
    codes, payloads = random_codes(500, 0), []
    for device in ("cpu", "cuda"):
        coder = LaneCoder(prior.to(device), 7)
        payloads.append(coder.encode(codes))
        assert torch.equal(coder.decode(payloads[0], 3, 500), codes)
    assert payloads[0] == payloads[1]


def test_lanes_are_long_enough() -> None:
    assert [lanes_for(n) for n in (0, 1, 255, 256, 10**6)] == [1, 1, 1, 2, 128]
    with pytest.raises(CodecError, match="lanes"):
        LaneCoder(StaticPrior((2,)), 0)


def test_an_alphabet_beyond_tables_goes_as_digits() -> None:
    size = 2**18
    values = np.random.default_rng(0).integers(0, size, 500)
    coder = LaneCoder(AdaptivePrior(digits_of(size)), 2)
    data = coder.encode(torch.from_numpy(split(values, size)).T)
    digits = coder.decode(data, len(digits_of(size)), 500)
    assert np.array_equal(join(digits.T.numpy(), size), values)
