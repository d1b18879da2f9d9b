"""Fine-tuning with rounding: it computes as the export does, and saves a prior that rounding would spoil."""

import copy
from collections.abc import Iterator

import pytest
import torch
from speech_codes import ALPHABET, speech_codes, trained
from torch import Tensor

from neuralcodecs.errors import CodecError
from neuralcodecs.lm.orders import Masked
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer, TokenTransformer
from neuralcodecs.priors.dropout import drop
from neuralcodecs.priors.learned import LearnedPrior
from neuralcodecs.priors.masked import MaskedTransformer
from neuralcodecs.priors.rounding import fine_tune, rounding

TOO_LARGE = 12


@pytest.fixture(scope="module")
def codes() -> Tensor:
    return torch.cat(speech_codes()[1], -1)[..., :600]


@pytest.fixture(scope="module")
def spoiled() -> TokenTransformer:
    """A trained prior whose hidden values lie beyond what the integers hold; in floats it is what it was."""
    torch.manual_seed(0)
    model = trained(FactorisedTransformer(ALPHABET, 32, 4, 2, 100), 80)
    with torch.no_grad():
        for block in (*model.time, *model.depth):
            block.rise.weight *= TOO_LARGE
            block.rise.bias *= TOO_LARGE
            block.fall.weight /= TOO_LARGE
    return model.eval()


def batches() -> Iterator[Tensor]:
    generator, train = torch.Generator().manual_seed(0), speech_codes()[0]
    while True:
        yield train[torch.randint(len(train), (8,), generator=generator)]


def bits(model: LearnedPrior, codes: Tensor) -> tuple[float, float, float]:
    """Bits of a code: of the float network, with rounding, of the export."""
    with torch.no_grad():
        plain = float(model.bits(codes))
        with rounding(model):
            aware = float(model.bits(codes))
    return plain, aware, model.export().ideal_bits(codes) / codes.numel()


def test_a_badly_rounded_prior_is_fine_tuned(spoiled: TokenTransformer, codes: Tensor) -> None:
    plain, aware, integer = bits(spoiled, codes)
    assert integer > 1.01 * plain  # ten times what may be lost
    assert aware == pytest.approx(integer, rel=2e-4)  # it is what the network is trained on
    tuned = copy.deepcopy(spoiled)
    fine_tune(tuned, batches(), 60)
    again = bits(tuned, codes)
    assert again[2] - plain < 0.5 * (integer - plain)
    assert again[1] == pytest.approx(again[2], rel=2e-4)
    assert bits(tuned, codes)[0] == again[0]  # the network computes in floats again


@pytest.mark.parametrize("kind", ["parallel", "masked"])
def test_every_kind_computes_as_its_export(kind: str) -> None:
    torch.manual_seed(0)
    kinds = {
        "parallel": lambda: ParallelTransformer((20, 9), 32, 4, 2, 10, conditions=(5,)),
        "masked": lambda: MaskedTransformer((20, 9), Masked(4), 2, 32, 4, 2, 3, conditions=(5,)),
    }
    model = kinds[kind]().eval()
    grid = (30,) if kind == "parallel" else (5, 6)
    codes = torch.stack([torch.randint(0, n, (2, *grid)) for n in (20, 9)], 1)
    cond = torch.randint(0, 5, (2, 1, *grid))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3  # values and weights at the ends of their ranges
        with rounding(model):
            aware = float(model.bits(codes, cond))
        plain = float(model.bits(codes, cond))
    integer = model.export().ideal_bits(codes, cond) / codes.numel()
    assert abs(aware - integer) < 0.3 * abs(plain - integer)


def test_gradients_reach_every_parameter(spoiled: TokenTransformer) -> None:
    model = copy.deepcopy(spoiled)
    with rounding(model):
        model.bits(next(batches())).backward()
    # without conditions there is nothing to embed
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters() if p.numel())


def test_dropout_is_for_training_only(codes: Tensor) -> None:
    torch.manual_seed(0)
    model = ParallelTransformer(ALPHABET, 16, 2, 1, 20)
    piece = codes[..., :40]
    plain = model(piece)
    drop(model, 0.5)
    assert not torch.equal(model(piece), plain) and torch.equal(model.eval()(piece), plain)
    with pytest.raises(CodecError, match=r"dropout 1.0"):
        drop(model, 1.0)
