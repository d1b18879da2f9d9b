"""Fine levels predicted from coarse ones: the coarse stay, draws follow the tables, and no batch or thread matters."""

import pytest
import torch
from speech_codes import ALPHABET, speech_codes, trained
from torch import Tensor

from neuralcodecs.errors import CodecError
from neuralcodecs.fill import fill
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer
from neuralcodecs.priors.counted import StaticPrior
from neuralcodecs.priors.integer import IntegerPrior
from neuralcodecs.priors.prior import table_bits


@pytest.fixture(scope="module", params=[ParallelTransformer, FactorisedTransformer], ids=["parallel", "factorised"])
def prior(request: pytest.FixtureRequest) -> IntegerPrior:
    torch.manual_seed(0)
    return trained(request.param(ALPHABET, 32, 4, 1, 40), 60).export()


@pytest.fixture(scope="module")
def codes() -> Tensor:
    return torch.cat(speech_codes()[1], -1)[..., :48].view(2, 2, 24).transpose(0, 1)


@pytest.mark.parametrize("seed", [None, 0, 2**32 - 1])
def test_coarse_levels_stay_and_the_rest_is_a_function_of_them(
    prior: IntegerPrior, codes: Tensor, seed: int | None
) -> None:
    found = fill(prior, codes[:, :1], 2, seed)
    assert torch.equal(found[:, :1], codes[:, :1]) and found.max() < max(ALPHABET)
    assert torch.equal(fill(prior, codes[1:2, :1], 2, seed), found[1:2])  # alone
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert torch.equal(fill(prior.double(), codes[:, :1], 2, seed), found)
    finally:
        torch.set_num_threads(before)
        prior.float()
    # causal: a later coarse code changes no earlier fine one
    other = codes[:, :1].clone()
    other[..., 12] = (other[..., 12] + 1) % ALPHABET[0]
    assert torch.equal(fill(prior, other, 2, seed)[..., :12], found[..., :12])
    assert torch.equal(fill(prior, codes, 2, seed), codes)


def test_draws_depend_on_the_seed_and_the_likeliest_are_likelier(prior: IntegerPrior, codes: Tensor) -> None:
    one, two, best = (fill(prior, codes[:, :1], 2, seed) for seed in (1, 2, None))
    assert not torch.equal(one, two)
    bits = [table_bits(prior, found) for found in (best, one, two)]
    assert bits[0] < 0.9 * min(bits[1:])


def test_draws_have_the_frequencies_of_the_table() -> None:
    static = StaticPrior((5, 4))
    counts = torch.tensor([70, 20, 9, 1])
    static.count(torch.stack([torch.zeros(100, dtype=torch.int64), torch.repeat_interleave(counts)])[None])
    found = fill(static, torch.zeros(1, 1, 4000, dtype=torch.int64), 2, 7)[0, 1]
    share = torch.bincount(found, minlength=4) / 4000
    assert (share - (counts + 1) / 104).abs().max() < 0.03  # four standard deviations


def test_what_cannot_be_filled_is_refused(prior: IntegerPrior, codes: Tensor) -> None:
    for wrong, levels, seed in ((codes, 1, 0), (codes, 3, 0), (codes, 2, -1), (codes + 64, 2, 0)):
        with pytest.raises(CodecError):
            fill(prior, wrong, levels, seed)
