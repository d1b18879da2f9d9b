"""Games of picture codecs and LeCam: their formulas, their state, and equal averages on all ranks."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from test_adversary import Tiny
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from neuralcodecs.errors import CodecError
from neuralcodecs.training.adversary import Adversary
from neuralcodecs.training.combine import WeightedSum
from neuralcodecs.training.games import Hinge, LeCam, Linear, Mixed, NonSaturating
from neuralcodecs.training.terms import Output


def test_non_saturating_is_cross_entropy() -> None:
    real, fake = torch.randn(50), torch.randn(50)
    ones, zeros = torch.ones(50), torch.zeros(50)
    expected = binary_cross_entropy_with_logits(real, ones) + binary_cross_entropy_with_logits(fake, zeros)
    torch.testing.assert_close(NonSaturating().discriminator(real, fake), expected)
    torch.testing.assert_close(NonSaturating().generator(fake), binary_cross_entropy_with_logits(fake, ones))


def test_a_mixed_game_takes_one_loss_of_each() -> None:
    real, fake = torch.randn(50), torch.randn(50)
    for generator in (NonSaturating(), Linear()):
        mixed = Mixed(Hinge(), generator)
        assert mixed.discriminator(real, fake) == Hinge().discriminator(real, fake)
        assert mixed.generator(fake) == generator.generator(fake)
    assert Linear().generator(fake) == -fake.mean()
    assert Linear().discriminator(real, fake) == fake.mean() - real.mean()


def test_lecam_is_its_formula_over_batches() -> None:
    lecam, averages = LeCam(decay=0.9, verdicts=2), torch.zeros(2, 2, dtype=torch.float64)
    for _ in range(5):
        real, fake = ([torch.randn(3, 1, 4, 5) + shift for _ in range(2)] for shift in (1.0, -1.0))
        expected = torch.zeros((), dtype=torch.float64)
        for k in range(2):
            averages[k] = 0.9 * averages[k] + 0.1 * torch.stack([real[k].double().mean(), fake[k].double().mean()])
            expected += (real[k] - averages[k, 1]).clamp(min=0).square().mean() / 2
            expected += (averages[k, 0] - fake[k]).clamp(min=0).square().mean() / 2
        torch.testing.assert_close(lecam(real, fake).double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(lecam.averages.double(), averages, rtol=1e-5, atol=1e-6)
    with pytest.raises(CodecError, match="LeCam for 2 verdicts, the discriminator gives 1"):
        lecam(real[:1], fake[:1])


def test_lecam_resumes_and_ignores_what_is_not_finite() -> None:
    lecam, again = LeCam(), LeCam()
    lecam([torch.ones(2, 3)], [torch.zeros(2, 3)])
    before = lecam.averages.clone()
    lecam([torch.full((2, 3), torch.inf)], [torch.zeros(2, 3)])
    assert torch.equal(lecam.averages, before) and before.any()
    again.load_state_dict(lecam.state_dict())
    real, fake = [torch.randn(2, 3)], [torch.randn(2, 3)]
    assert torch.equal(lecam(real, fake), again(real, fake))


def test_lecam_reaches_the_discriminator_and_not_the_codec() -> None:
    signal = torch.randn(3, 1, 200, requires_grad=True)
    adversary = Adversary(Tiny(), feature_weight=0.0, weight=0.0, regularizer=LeCam(weight=0.5))
    output = Output.of(signal * 1)
    terms = adversary(output, torch.randn(3, 1, 200), 0, 0)
    assert terms["regularizer"].weight == 0.5 and not terms["regularizer"].on_output
    parameter = adversary.discriminator.first.weight
    (own,) = torch.autograd.grad(terms["discriminator"].value, parameter, retain_graph=True)
    (pull,) = torch.autograd.grad(terms["regularizer"].value, parameter, retain_graph=True)
    WeightedSum()(terms, output).backward()
    torch.testing.assert_close(parameter.grad, own + 0.5 * pull)
    assert pull.any() and not signal.grad.any()


def test_a_resting_discriminator_is_not_regularized() -> None:
    adversary = Adversary(Tiny(), probability=0.5, regularizer=LeCam())
    weights = set()
    for seed in range(40):
        terms = adversary(Output.of(torch.randn(2, 1, 50, requires_grad=True) * 1), torch.randn(2, 1, 50), 0, seed)
        assert bool(terms["regularizer"].weight) == bool(terms["discriminator"].weight)
        weights.add(terms["regularizer"].weight)
    assert weights == {0.0, 0.05}


def _logits(rank: int) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(rank)
    return [torch.randn(2, 6, generator=generator)], [torch.randn(2, 6, generator=generator)]


def _rank(rank: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1"}
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    lecam = LeCam(decay=0.5)
    lecam(*_logits(rank))
    torch.save(lecam.averages, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow  # 10 s of CPU to start two processes
def test_two_ranks_average_what_one_process_would_see(tmp_path: Path) -> None:
    mp.spawn(_rank, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    whole = LeCam(decay=0.5)
    pairs = [_logits(rank) for rank in range(2)]
    whole([torch.cat([real[0] for real, _ in pairs])], [torch.cat([fake[0] for _, fake in pairs])])
    assert torch.equal(first, second)
    torch.testing.assert_close(first, whole.averages)
