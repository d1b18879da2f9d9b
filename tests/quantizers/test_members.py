"""What each quantizer promises beyond the family: its formula, its gradient, its published counterpart."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from vector_quantize_pytorch import ResidualFSQ, ResidualLFQ

from neuralcodecs.codec import Quantizer
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.binary import BSQ, GroupedLFQ
from neuralcodecs.quantizers.categorical import Categorical
from neuralcodecs.quantizers.entropy import dense_entropies
from neuralcodecs.quantizers.fsq import FSQ, SymmetricFSQ
from neuralcodecs.quantizers.gaussian import GaussianKL
from neuralcodecs.quantizers.ibq import IBQ
from neuralcodecs.quantizers.projected import Projected
from neuralcodecs.quantizers.stacked import ResidualStack
from neuralcodecs.quantizers.vq import VQ, CosineVQ, SphericalVQ

DIM = 6


def latents_on(axes: int) -> Tensor:
    return torch.randn(2, DIM, *(5, 4, 3)[:axes])


def gradient_through(quantizer: Quantizer, latents: Tensor, weight: Tensor) -> Tensor:
    latents = latents.clone().requires_grad_()
    return torch.autograd.grad((quantizer(latents).latents * weight).sum(), latents)[0]


@pytest.mark.parametrize("quantizer", [BSQ(DIM), SphericalVQ(DIM, 16)])
def test_gradient_on_the_sphere_is_that_of_the_normalisation(quantizer: Quantizer) -> None:
    latents = latents_on(2)
    weight = torch.randn_like(latents)
    unit = latents / latents.norm(dim=1, keepdim=True)
    tangent = (weight - unit * (unit * weight).sum(1, keepdim=True)) / latents.norm(dim=1, keepdim=True)
    torch.testing.assert_close(gradient_through(quantizer, latents, weight), tangent)


def test_fsq_follows_the_papers_formula_and_passes_the_slope_of_its_tanh() -> None:
    sizes = torch.tensor([8.0, 8, 8, 5, 5, 5]).view(-1, 1)
    latents = 2 * torch.randn(1, 6, 500)
    half, offset = (sizes - 1) * 1.001 / 2, (sizes + 1) % 2 / 2
    squashed = half * torch.tanh(latents + torch.atanh(offset / half)) - offset
    digits = squashed.round() + sizes // 2
    basis = torch.tensor([1, 8, 64, 512, 2560, 12800]).view(-1, 1)
    quantized = FSQ(6, (8, 8, 8, 5, 5, 5))(latents)
    assert torch.equal(quantized.codes[:, 0], (digits.long() * basis).sum(1))
    torch.testing.assert_close(quantized.latents, squashed.round() / (sizes // 2))
    weight = torch.randn_like(latents)
    slope = half * (1 - torch.tanh(latents + torch.atanh(offset / half)).square()) / (sizes // 2)
    gradient = gradient_through(FSQ(6, (8, 8, 8, 5, 5, 5)), latents, weight)
    torch.testing.assert_close(gradient, weight * slope, rtol=1e-4, atol=1e-5)


def test_cosmos_levels_are_one_codebook_of_64000() -> None:
    quantizer = FSQ(6, (8, 8, 8, 5, 5, 5))
    assert quantizer.codebook_sizes == (64_000,)
    decoded = quantizer.decode(torch.arange(64_000)[None, None])[0].T
    assert len(decoded.unique(dim=0)) == 64_000


def test_symmetric_fsq_passes_gradients_inside_its_range_only() -> None:
    latents = torch.tensor([-1.2, -0.7, 0.1, 1.3]).view(1, 4, 1)
    quantizer = SymmetricFSQ(4, (5,) * 4)
    assert quantizer(latents).latents.flatten().tolist() == [-1, -0.5, 0, 1]
    assert gradient_through(quantizer, latents, torch.ones_like(latents)).flatten().tolist() == [0, 1, 1, 0]


def test_ibq_gradients_are_those_of_the_one_hot_with_a_softmaxs_gradient() -> None:
    quantizer = IBQ(DIM, 16).double()
    nn.init.normal_(quantizer.codebook)
    latents = torch.randn(1, DIM, 30, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(latents)
    logits = latents[0].T @ quantizer.codebook.T
    soft = logits.softmax(-1)
    one_hot = functional.one_hot(logits.argmax(-1), 16).double()
    reference = ((one_hot - soft.detach() + soft) @ quantizer.codebook).T[None]
    inputs = (latents, quantizer.codebook)
    expected = torch.autograd.grad((reference * weight).sum(), inputs, retain_graph=True)
    quantized = quantizer(latents)
    actual = torch.autograd.grad((quantized.latents * weight).sum(), inputs, retain_graph=True)
    torch.testing.assert_close(quantized.latents, reference)
    torch.testing.assert_close(actual, expected)
    assert (expected[1].abs().sum(1) > 0).all()  # every code learns, chosen or not
    soft_commitment = functional.mse_loss(reference, latents)
    torch.testing.assert_close(
        torch.autograd.grad(quantized.losses["soft_commitment"], inputs, retain_graph=True),
        torch.autograd.grad(soft_commitment, inputs, retain_graph=True),
    )
    entropies = dense_entropies((logits / 0.01).softmax(-1)[:, None])
    torch.testing.assert_close(quantized.losses["token_entropy"], entropies.conditional)
    torch.testing.assert_close(quantized.losses["codebook_entropy"], -entropies.marginal)


def test_categorical_gradient_is_that_of_the_softmax_and_draws_follow_the_probabilities() -> None:
    quantizer = Categorical(DIM, codebooks=2, temperature=0.5).eval()
    latents = latents_on(1)
    weight = torch.randn_like(latents)
    free = latents.clone().requires_grad_()
    soft = (free.view(2, 2, 3, 5) / 0.5).softmax(2).flatten(1, 2)
    (expected,) = torch.autograd.grad((soft * weight).sum(), free)
    torch.testing.assert_close(gradient_through(quantizer, latents, weight), expected)

    probabilities = torch.tensor([0.7, 0.2, 0.1])
    logits = probabilities.log().view(1, 3, 1).expand(1, 3, 20_000)
    drawn = Categorical(3).train()(logits).codes
    frequencies = torch.bincount(drawn.flatten(), minlength=3) / 20_000
    torch.testing.assert_close(frequencies, probabilities, atol=0.02, rtol=0)  # 6 standard deviations
    assert (Categorical(3, gumbel=False).train()(logits).codes == 0).all()


def test_categorical_entropies_take_labels() -> None:
    quantizer = Categorical(DIM, codebooks=2)
    latents = latents_on(1)
    with_own_class = quantizer.entropies(latents, torch.arange(10).view(2, 5))
    losses = quantizer(latents).losses
    torch.testing.assert_close(with_own_class.losses(), losses)
    one_class = quantizer.entropies(latents, torch.zeros(2, 5, dtype=torch.int64))
    assert one_class.conditional > with_own_class.conditional


def test_gaussian_trains_on_draws_codes_means_and_pays_their_divergence() -> None:
    quantizer = GaussianKL(DIM, code_dim=4, step=0.25, codebook_size=16)
    nn.init.eye_(quantizer.outward.weight), nn.init.zeros_(quantizer.outward.bias)
    latents = torch.randn(1, DIM, 20_000)
    moments = (quantizer.inward.weight @ latents[0] + quantizer.inward.bias[:, None])[None]
    mean, log_variance = moments[:, :4], moments[:, 4:]
    prior = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    divergence = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
    drawn = quantizer.train()(latents)
    torch.testing.assert_close(drawn.losses["kl"], divergence)
    normalised = (drawn.latents[:, :4] - mean) / posterior.stddev
    assert abs(normalised.mean()) < 0.02 and abs(normalised.std() - 1) < 0.02
    rounded = quantizer.eval()(latents)
    assert (rounded.latents[:, :4] - mean.clamp(-2, 1.75)).abs().max() <= 0.125 + 1e-5
    assert quantizer.encode(1e9 * latents).max() == 15  # clipped, not wrapped around


def test_residual_fsq_agrees_with_vector_quantize_pytorch() -> None:
    theirs = ResidualFSQ(levels=[5] * DIM, dim=DIM, num_quantizers=4, is_channel_first=True).eval()
    ours = ResidualStack(DIM, lambda d: SymmetricFSQ(d, (5,) * d), 4, shrink=1 / 5, bound=5 / 4).eval()
    latents = 2 * torch.randn(2, DIM, 500)
    their_latents, their_codes = theirs(latents)
    quantized = ours(latents)
    # a residual on a rounding boundary may fall to either side: both compute it in float32, scaled in another order
    agree = (quantized.codes == their_codes.movedim(-1, 1) if their_codes.shape[-1] == 4 else their_codes).all(1)
    assert agree.float().mean() > 0.995
    torch.testing.assert_close(quantized.latents, their_latents, atol=2.1 / 4 / 5**3, rtol=0)
    bounded = 5 / 4 * torch.tanh(latents / (5 / 4))
    assert (quantized.latents - bounded).abs().max() <= 1 / 4 / 5**3 + 1e-5  # half a cell of the last stage


def test_residual_lfq_agrees_with_vector_quantize_pytorch() -> None:
    theirs = ResidualLFQ(dim=DIM, codebook_size=2**DIM, num_quantizers=4).eval()
    ours = ResidualStack(DIM, lambda d: GroupedLFQ(d), 4, shrink=0.5).eval()
    latents = torch.randn(2, DIM, 500)
    their_latents = theirs(latents.movedim(1, -1))[0].movedim(-1, 1)
    torch.testing.assert_close(ours(latents).latents, their_latents)


def test_stack_of_factorised_codebooks_is_dacs_quantizer() -> None:
    dac = pytest.importorskip("dac.nn.quantize", reason="descript-audio-codec is not installed")
    theirs = dac.ResidualVectorQuantize(input_dim=32, n_codebooks=4, codebook_size=64, codebook_dim=8).eval()
    ours = ResidualStack(
        32, lambda d: Projected(d, lambda c: CosineVQ(c, 64), code_dim=8), 4, detach_residuals=False
    ).eval()
    with torch.no_grad():
        stages: list[Any] = [*ours.stages]
        for stage, level in zip(stages, theirs.quantizers, strict=True):
            stage.inward.weight.copy_(level.in_proj.weight[..., 0])
            stage.inward.bias.copy_(level.in_proj.bias)
            stage.outward.weight.copy_(level.out_proj.weight[..., 0])
            stage.outward.bias.copy_(level.out_proj.bias)
            stage.quantizer.codebook.copy_(level.codebook.weight)
    latents = torch.randn(2, 32, 50, requires_grad=True)
    weight = torch.randn(2, 32, 50)
    their_latents, their_codes, _, commitment, codebook = theirs(latents)
    quantized = ours(latents)
    assert torch.equal(quantized.codes, their_codes)
    torch.testing.assert_close(quantized.latents, their_latents)
    torch.testing.assert_close(4 * quantized.losses["commitment"], commitment.mean())  # DAC sums over its codebooks
    torch.testing.assert_close(4 * quantized.losses["codebook"], codebook.mean())
    (expected,) = torch.autograd.grad((their_latents * weight).sum(), latents)
    (actual,) = torch.autograd.grad((quantized.latents * weight).sum(), latents)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("quantizer", [VQ(4, 64), CosineVQ(4, 64), SphericalVQ(4, 64)])
def test_search_finds_the_nearest(quantizer: Any) -> None:
    codebook = nn.init.normal_(quantizer.codebook)
    latents = torch.randn(1, 4, 300)
    x, e = latents[0].T.detach(), codebook.detach()
    if type(quantizer) is not VQ:
        x, e = functional.normalize(x, dim=1), functional.normalize(e, dim=1)
    expected = torch.cdist(x, e).argmin(1)
    assert torch.equal(quantizer.encode(latents).flatten(), expected)


def test_losses_of_every_stage_reach_the_encoder() -> None:
    quantizer = ResidualStack(DIM, lambda d: VQ(d, 16), 3)
    latents = latents_on(1).requires_grad_()
    commitments = []
    for levels in (1, 2, 3):
        loss = levels * quantizer(latents, levels).losses["commitment"]  # the mean over stages, as a sum
        commitments.append(torch.autograd.grad(loss, latents)[0])
    assert (commitments[2] - commitments[1]).abs().max() > 1e-4  # the third stage's own part


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FSQ(5, (8, 8)), "2 channel_sizes for 5 latent channels"),
        (lambda: FSQ(2, (2, 8)), "3 or more each"),
        (lambda: SymmetricFSQ(8, (8,) * 8), "at most 1048576 codes"),
        (lambda: Categorical(7, codebooks=2), "7 latent channels do not divide into 2"),
        (lambda: GaussianKL(4, 2, step=0.0), "step 0.0 must be positive"),
        (lambda: ResidualStack(4, lambda d: VQ(d, 8), depth=0), "depth 0"),
        (lambda: ResidualStack(4, lambda d: VQ(d, 8), depth=2, levels=(2, 1)), "must ascend from 1 or more to .* 2"),
        (lambda: ResidualStack(4, lambda d: VQ(d, 8), depth=2, levels=(1, 3)), "must ascend from 1 or more to .* 2"),
    ],
)
def test_impossible_arguments_are_refused(make: Callable[[], Quantizer], message: str) -> None:
    with pytest.raises(CodecError, match=message):
        make()
