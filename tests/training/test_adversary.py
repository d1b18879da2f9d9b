"""The game: one forward per signal, no gradient of one player in the other, terms that fall silent without harm."""

import torch
from torch import Tensor, nn

from neuralcodecs.criteria import Discriminator, Verdict
from neuralcodecs.training.adversary import Adversary, feature_distance
from neuralcodecs.training.combine import WeightedSum
from neuralcodecs.training.games import Hinge, LeastSquares, LeCam
from neuralcodecs.training.terms import Output


class Tiny(Discriminator):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv1d(1, 4, 9), nn.Conv1d(4, 1, 3)
        self.forwards = 0

    def forward(self, signal: Tensor) -> list[Verdict]:
        self.forwards += 1
        hidden = torch.tanh(self.first(signal))
        return [Verdict(self.last(hidden), [hidden])]


def play(adversary: Adversary, seed: int = 0) -> tuple[Tensor, dict]:
    signal = torch.randn(3, 1, 200, requires_grad=True)
    output = Output.of(signal * 1)
    terms = adversary(output, torch.randn(3, 1, 200), 0, seed)
    WeightedSum()(terms, output).backward()
    return signal.grad, terms


def test_one_forward_per_signal_serves_both_players() -> None:
    adversary = Adversary(Tiny())
    play(adversary)
    assert adversary.discriminator.forwards == 2


def test_the_discriminators_gradient_is_that_of_its_own_loss_alone() -> None:
    discriminator = Tiny()
    fake, real = torch.randn(3, 1, 200), torch.randn(3, 1, 200)
    output = Output.of(fake.clone().requires_grad_() * 1)
    terms = Adversary(discriminator, weight=100.0, feature_weight=100.0)(output, real, 0, 0)
    WeightedSum()(terms, output).backward()
    ours = [p.grad.clone() for p in discriminator.parameters()]
    discriminator.zero_grad()
    game = Hinge()
    game.discriminator(discriminator(real)[0].logits, discriminator(fake)[0].logits).backward()
    for mine, p in zip(ours, discriminator.parameters(), strict=True):
        torch.testing.assert_close(mine, p.grad)


def test_the_codecs_gradient_is_that_of_the_generators_loss_alone() -> None:
    discriminator = Tiny()
    fake, real = torch.randn(3, 1, 200), torch.randn(3, 1, 200)
    signal = fake.clone().requires_grad_()
    output = Output.of(signal * 1)
    WeightedSum()(Adversary(discriminator, weight=2.0, feature_weight=0.5)(output, real, 0, 0), output).backward()
    direct = fake.clone().requires_grad_()
    verdict = discriminator(direct)
    loss = 2.0 * Hinge().generator(verdict[0].logits)
    loss = loss + 0.5 * feature_distance(discriminator(real), verdict, relative=True)
    (gradient,) = torch.autograd.grad(loss, direct)
    torch.testing.assert_close(signal.grad, gradient)


def test_a_resting_discriminator_gets_no_gradient_and_its_share_is_the_probability() -> None:
    adversary = Adversary(Tiny(), probability=2 / 3)
    learned = 0
    for seed in range(300):
        adversary.zero_grad()
        _, terms = play(adversary, seed)
        assert (adversary.discriminator.first.weight.grad is not None) == bool(terms["discriminator"].weight)
        learned += bool(terms["discriminator"].weight)
    assert 170 < learned < 230  # 200 expected, standard deviation 8


def test_the_loss_of_a_resting_discriminator_is_told_and_its_backward_does_not_pass_through_it() -> None:
    """``ddp`` asks for the gradients of all parameters in every step."""
    told = []
    for probability in (0.0, 1.0):
        torch.manual_seed(0)
        adversary = Adversary(Tiny(), probability=probability, regularizer=LeCam())
        passed: list[Tensor] = []
        adversary.discriminator.last.register_forward_hook(
            lambda module, inputs, logits, passed=passed: (logits.register_hook(passed.append), None)[1]
        )
        terms = adversary(Output.of(torch.randn(3, 1, 200, requires_grad=True) * 1), torch.randn(3, 1, 200), 0, 0)
        own = [terms[name] for name in ("discriminator", "regularizer")]
        sum(term.value for term in own).backward()
        gradients = [p.grad for p in adversary.discriminator.parameters()]
        assert all((g.count_nonzero() > 0) == bool(probability) for g in gradients)
        assert bool(passed) == bool(probability) == bool(own[0].weight) == bool(own[1].weight)
        told.append([float(term.value.detach()) for term in own])
    assert told[0] == told[1]


def test_before_its_start_the_game_costs_nothing_and_says_nothing() -> None:
    adversary = Adversary(Tiny(), start=5)
    output = Output.of(torch.randn(3, 1, 200, requires_grad=True) * 1)
    terms = adversary(output, torch.randn(3, 1, 200), 4, 0)
    assert adversary.discriminator.forwards == 0
    assert set(terms) == {"discriminator"} and terms["discriminator"].weight == 0
    assert set(adversary(output, torch.randn(3, 1, 200), 5, 0)) == {"adversarial", "features", "discriminator"}


def test_features_of_equal_signals_are_at_no_distance() -> None:
    discriminator, signal = Tiny(), torch.randn(2, 1, 100)
    assert feature_distance(discriminator(signal), discriminator(signal), relative=True).item() == 0


def test_games_are_won_at_their_targets() -> None:
    ones, zeros = torch.ones(4, 7), torch.zeros(4, 7)
    assert Hinge().discriminator(ones, -ones).item() == 0 and Hinge().generator(ones).item() == 0
    assert LeastSquares().discriminator(ones, zeros).item() == 0 and LeastSquares().generator(ones).item() == 0
    assert Hinge().discriminator(-ones, ones).item() == 4 and LeastSquares().generator(zeros).item() == 1
