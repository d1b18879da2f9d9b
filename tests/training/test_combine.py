"""The two ways to combine terms: what gradient reaches the codec, and what the balancer remembers."""

import torch
from torch import Tensor

from neuralcodecs.audio import MultiScaleSTFT, WaveformL1
from neuralcodecs.training import Together, Weighted
from neuralcodecs.training.combine import Balancer, WeightedSum
from neuralcodecs.training.terms import Output, Term, Terms

NAMES = ("waveform", "spectrum", "adversarial")
WEIGHTS = {"waveform": 0.1, "spectrum": 1.0, "adversarial": 3.0}


def losses(leaf: Tensor, target: Tensor) -> dict[str, Tensor]:
    return {
        "waveform": (leaf - target).abs().mean(),
        "spectrum": 50 * (torch.fft.rfft(leaf).abs() - torch.fft.rfft(target).abs()).square().mean(),
        "adversarial": torch.relu(1 - 1e-3 * leaf.square()).mean(),
    }


def make_terms(output: Output, target: Tensor) -> Terms:
    return {n: Term(v, WEIGHTS[n], on_output=True) for n, v in losses(output.leaf, target).items()}


def test_weighted_sum_gives_the_gradient_of_the_plain_sum() -> None:
    source, target = torch.randn(4, 1, 500), torch.randn(4, 1, 500)
    weight = torch.ones((), requires_grad=True)
    output = Output.of(source * weight)
    WeightedSum()(make_terms(output, target) | {"commitment": Term((weight - 3).square(), 0.5)}, output).backward()
    plain = torch.ones((), requires_grad=True)
    direct = losses(source * plain, target)
    (sum(WEIGHTS[n] * v for n, v in direct.items()) + 0.5 * (plain - 3).square()).backward()
    torch.testing.assert_close(weight.grad, plain.grad)


def test_balancer_follows_the_papers_equation_over_several_steps() -> None:
    """Equation 5 written out, with the published code's average: sum of beta^k norms over the sum of beta^k."""
    ours = Balancer(NAMES, total_norm=4.0)  # times the batch, whose sum the published code takes
    history: dict[str, list[float]] = {name: [] for name in NAMES}
    for step in range(5):
        source = torch.randn(4, 1, 500, generator=torch.Generator().manual_seed(step))
        target = torch.randn(4, 1, 500, generator=torch.Generator().manual_seed(100 + step))
        leaf = source.clone().requires_grad_()
        expected = torch.zeros_like(source)
        for name, loss in losses(leaf, target).items():
            (gradient,) = torch.autograd.grad(loss, leaf)
            history[name].append(float(gradient.flatten(1).norm(dim=1).mean()))
            decays = [0.999**age for age in reversed(range(step + 1))]
            average = sum(d * n for d, n in zip(decays, history[name], strict=True)) / sum(decays)
            expected += WEIGHTS[name] / sum(WEIGHTS.values()) * gradient / (1e-12 + average)
        signal = source.clone().requires_grad_()
        output = Output.of(signal * 1)
        ours(make_terms(output, target), output).backward()
        torch.testing.assert_close(signal.grad, expected, rtol=1e-5, atol=1e-8)  # entries are about 1e-2


def test_balancer_shares_do_not_depend_on_the_scale_of_a_loss() -> None:
    target = torch.randn(4, 1, 500)
    results = []
    for scale in (1.0, 1e4):
        signal = torch.zeros(4, 1, 500, requires_grad=True)
        output = Output.of(signal + 0.1)
        terms = make_terms(output, target)
        terms["waveform"] = terms["waveform"]._replace(value=terms["waveform"].value * scale)
        Balancer(NAMES)(terms, output).backward()
        results.append(signal.grad)
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-9)


def test_balancer_gives_an_item_its_share_of_the_batch_whatever_the_batch_is() -> None:
    signal, target = torch.randn(2, 1, 1, 500)
    gradients = []
    for copies in (1, 4):
        output = Output.of(signal.repeat(copies, 1, 1).requires_grad_())
        gradient = Balancer(NAMES).gradient(make_terms(output, target.repeat(copies, 1, 1)), output.leaf)
        gradients.append(gradient.sum(0))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-8)


def test_balancer_norms_survive_a_state_dict() -> None:
    first, second = Balancer(NAMES), Balancer(NAMES)
    output = Output.of(torch.randn(2, 1, 300, requires_grad=True))
    first(make_terms(output, torch.zeros(2, 1, 300)), output)
    second.load_state_dict(first.state_dict())
    assert second.norms.tolist() == first.norms.tolist() and all(first.norms.tolist())


def test_a_step_that_is_not_finite_leaves_the_norms_alone() -> None:
    balancer = Balancer(NAMES)
    output = Output.of(torch.randn(2, 1, 300, requires_grad=True))
    balancer(make_terms(output, torch.zeros(2, 1, 300)), output)
    before = balancer.norms.clone()
    broken = Output.of(torch.full((2, 1, 300), float("nan"), requires_grad=True))
    balancer(make_terms(broken, torch.zeros(2, 1, 300)), broken)
    assert balancer.norms.tolist() == before.tolist()


def test_gradients_survive_half_precision() -> None:
    """A mean over 1.5 M samples has gradients below fp16's smallest number unless they are scaled on the way."""
    signal = torch.zeros(1, 1, 1_500_000, requires_grad=True)
    output = Output.of(signal + 1)
    WeightedSum()({"waveform": Term(output.leaf.half().float().mean(), 1.0, on_output=True)}, output).backward()
    torch.testing.assert_close(signal.grad, torch.full_like(signal, 1 / 1_500_000), rtol=1e-3, atol=0)


def test_several_losses_together_are_their_weighted_sum() -> None:
    output, target = torch.randn(2, 1, 4000, requires_grad=True), torch.randn(2, 1, 4000)
    parts = [Weighted(WaveformL1(), 0.5), Weighted(MultiScaleSTFT((256, 64)), 2.0)]
    together = Together(parts)
    wanted = 0.5 * parts[0].loss(output, target) + 2.0 * parts[1].loss(output, target)
    found = together(output, target)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(v, output) for v in (found, wanted)))
    assert [*together.buffers()] == [*parts[0].buffers(), *parts[1].buffers()]
