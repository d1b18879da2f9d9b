"""What every quantizer promises, on one, two and three axes."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import Tensor, nn
from torch.nn import functional
from vector_quantize_pytorch import ResidualFSQ, ResidualLFQ

from neuralcodecs.codec import Quantizer, QuantizerFactory
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.binary import BSQ, GroupedLFQ
from neuralcodecs.quantizers.categorical import Categorical
from neuralcodecs.quantizers.entropy import dense_entropies
from neuralcodecs.quantizers.fsq import FSQ, SymmetricFSQ
from neuralcodecs.quantizers.gaussian import GaussianKL
from neuralcodecs.quantizers.ibq import IBQ
from neuralcodecs.quantizers.projected import Projected
from neuralcodecs.quantizers.residual import ResidualVQ
from neuralcodecs.quantizers.stacked import ResidualStack
from neuralcodecs.quantizers.vq import VQ, CosineVQ, SphericalVQ

DIM = 6

FAMILY: dict[str, Callable[[], Quantizer]] = {
    "lfq": lambda: GroupedLFQ(DIM),
    "grouped_lfq": lambda: GroupedLFQ(DIM, groups=3),
    "grouped_lfq_pooled": lambda: GroupedLFQ(DIM, groups=2, pool_groups=True),
    "bsq": lambda: BSQ(DIM),
    "bsq_bits": lambda: BSQ(DIM, groups=DIM),
    "fsq": lambda: FSQ(DIM, (8, 8, 8, 5, 5, 5)),
    "fsq_symmetric": lambda: SymmetricFSQ(DIM, (3,) * DIM),
    "fsq_projected": lambda: Projected(DIM, lambda d: FSQ(d, (7, 5, 4)), code_dim=3),
    "vq": lambda: VQ(DIM, 16),
    "vq_cosine": lambda: CosineVQ(DIM, 16),
    "vq_spherical": lambda: SphericalVQ(DIM, 16),
    "vq_factorised": lambda: Projected(DIM, lambda d: CosineVQ(d, 16), code_dim=2),
    "rvq": lambda: ResidualVQ(DIM, codebooks=3, codebook_size=16),
    "ibq": lambda: IBQ(DIM, 16),
    "categorical": lambda: Categorical(DIM, codebooks=2),
    "gaussian": lambda: GaussianKL(DIM, code_dim=4),
    "residual_fsq": lambda: ResidualStack(DIM, lambda d: SymmetricFSQ(d, (3,) * d), 3, shrink=1 / 3, bound=1.5),
    "residual_lfq": lambda: ResidualStack(DIM, lambda d: GroupedLFQ(d, 2), 3, shrink=0.5),
    "residual_ibq": lambda: ResidualStack(DIM, lambda d: IBQ(d, 16), 2),
    "residual_factorised": lambda: ResidualStack(
        DIM, lambda d: Projected(d, lambda c: CosineVQ(c, 16), code_dim=2), 3, detach_residuals=False
    ),
}

everyone = pytest.mark.parametrize("name", FAMILY)


def build(name: str, training: bool = False) -> Quantizer:
    return FAMILY[name]().train(training)


def latents_on(axes: int) -> Tensor:
    return torch.randn(2, DIM, *(5, 4, 3)[:axes])


@everyone
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_codes_decode_to_the_quantized_latents_to_the_last_bit(name: str, axes: int) -> None:
    quantizer, latents = build(name), latents_on(axes)
    quantized = quantizer(latents)
    codes = quantizer.encode(latents)
    assert torch.equal(codes, quantized.codes)
    assert codes.dtype == torch.int64
    assert codes.shape == (2, len(quantizer.codebook_sizes), *latents.shape[2:])
    for row, size in zip(codes.unbind(1), quantizer.codebook_sizes, strict=True):
        assert row.min() >= 0 and row.max() < size
    assert quantized.latents.shape == latents.shape
    assert torch.equal(quantizer.decode(codes), quantized.latents)


# drawn in training: Gumbel's choice decodes exactly, the Gaussian's draw is not what is coded
@pytest.mark.parametrize("name", [n for n in FAMILY if n not in ("gaussian", "rvq")])
def test_training_sees_what_is_decoded(name: str) -> None:
    quantizer, latents = build(name, training=True), latents_on(2)
    quantized = quantizer(latents)
    assert torch.equal(quantizer.decode(quantized.codes), quantized.latents)


# not fixed points: quantizers where a projection, a tanh, a later stage or a longer code may come nearer
FIXED_POINTS = ["lfq", "grouped_lfq", "bsq", "bsq_bits", "fsq_symmetric", "vq", "vq_spherical", "categorical"]


@pytest.mark.parametrize("name", FIXED_POINTS)
def test_every_code_is_that_of_its_own_latents(name: str) -> None:
    quantizer = build(name)
    codes = torch.stack([torch.randint(size, (1, 500)) for size in quantizer.codebook_sizes], dim=1)
    assert torch.equal(quantizer.encode(quantizer.decode(codes)), codes)


@everyone
def test_fewer_levels_are_a_prefix(name: str) -> None:
    quantizer, latents = build(name), latents_on(2)
    everything = quantizer.encode(latents)
    for levels in range(1, len(quantizer.codebook_sizes) + 1):
        codes = quantizer.encode(latents, levels)
        assert torch.equal(codes, everything[:, :levels])
        quantized = quantizer(latents, levels)
        assert torch.equal(quantized.codes, codes)
        assert torch.equal(quantizer.decode(codes), quantized.latents)
        assert all(figure.shape == (levels,) for figure in quantized.statistics.values())
    assert quantizer.levels[-1] == len(quantizer.codebook_sizes)


@everyone
def test_levels_out_of_range_are_refused(name: str) -> None:
    quantizer, latents = build(name), latents_on(1)
    available = len(quantizer.codebook_sizes)
    for levels in (0, available + 1):
        with pytest.raises(CodecError, match=f"1 to {available}"):
            quantizer.encode(latents, levels)
        with pytest.raises(CodecError, match=f"1 to {available}"):
            quantizer(latents, levels)


@everyone
def test_codes_of_a_batch_are_those_of_its_items(name: str) -> None:
    quantizer, latents = build(name), latents_on(2)
    assert torch.equal(quantizer.encode(latents), torch.cat([quantizer.encode(item[None]) for item in latents]))


STRAIGHT = ["lfq", "grouped_lfq", "grouped_lfq_pooled", "vq", "vq_cosine", "rvq", "residual_lfq", "residual_ibq"]


@pytest.mark.parametrize("name", STRAIGHT)
@pytest.mark.parametrize("training", [False, True])
def test_straight_through_gradient_is_one(name: str, training: bool) -> None:
    quantizer, latents = build(name, training), latents_on(2).requires_grad_()
    weight = torch.randn_like(latents)
    (quantizer(latents).latents * weight).sum().backward()
    assert latents.grad is not None
    torch.testing.assert_close(latents.grad, weight, rtol=0, atol=0)


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


@everyone
def test_every_parameter_learns_from_the_losses_and_the_output(name: str) -> None:
    quantizer, latents = build(name, training=True), latents_on(2).requires_grad_()
    quantized = quantizer(latents)
    assert all(loss.ndim == 0 and loss.isfinite() for loss in quantized.losses.values())
    (quantized.latents.square().sum() + sum(quantized.losses.values())).backward()
    for parameter_name, parameter in quantizer.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name
    assert latents.grad is not None and latents.grad.isfinite().all()


@everyone
def test_statistics_per_codebook(name: str) -> None:
    quantizer, latents = build(name), latents_on(2)
    quantized = quantizer(latents)
    statistics = quantized.statistics
    assert {"usage", "perplexity", "entropy"} <= set(statistics)
    for index, (row, size) in enumerate(zip(quantized.codes.unbind(1), quantizer.codebook_sizes, strict=True)):
        counts = torch.bincount(row.flatten(), minlength=size).double()
        p = counts / counts.sum()
        bits = -torch.special.xlogy(p, p).sum() / math.log(2)
        assert statistics["usage"][index].item() == pytest.approx((counts > 0).double().mean().item(), rel=1e-5)
        assert statistics["entropy"][index].item() == pytest.approx(bits.item(), rel=1e-4, abs=1e-6)
        assert statistics["perplexity"][index].item() == pytest.approx(2 ** bits.item(), rel=1e-4)
    assert not any(figure.requires_grad for figure in statistics.values())


def from_config(description: object) -> Quantizer:
    """As a YAML file would be read for ``Codec(quantizer=...)``, and called as the codec calls it."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--quantizer", type=QuantizerFactory)
    parsed = parser.parse_object({"quantizer": yaml.safe_load(yaml.safe_dump(description))})
    return parser.instantiate_classes(parsed).quantizer(DIM)


@everyone
def test_described_in_yaml_built_again_and_loaded_it_is_the_same(name: str) -> None:
    quantizer, latents = build(name, training=True), latents_on(2)
    quantizer(latents)
    quantizer.update()
    quantizer.eval()
    again = from_config(quantizer.describe(leave_out=("dim",)))
    again.load_state_dict(quantizer.state_dict(), strict=True)
    again.eval()
    assert again.codebook_sizes == quantizer.codebook_sizes and again.levels == quantizer.levels
    expected, actual = quantizer(latents), again(latents)
    assert torch.equal(actual.codes, expected.codes)
    assert torch.equal(actual.latents, expected.latents)
    torch.testing.assert_close(actual.losses, expected.losses, rtol=0, atol=0)


@everyone
def test_autocast_changes_nothing(name: str) -> None:
    quantizer, latents = build(name), latents_on(2)
    expected = quantizer(latents)
    with torch.autocast("cpu", torch.bfloat16):
        actual = quantizer(latents)
        codes = quantizer.encode(latents)
        decoded = quantizer.decode(codes)
        from_half = quantizer(latents.bfloat16())
    assert torch.equal(codes, expected.codes) and torch.equal(actual.codes, expected.codes)
    assert torch.equal(decoded, expected.latents) and torch.equal(actual.latents, expected.latents)
    torch.testing.assert_close(actual.losses, expected.losses, rtol=0, atol=0)
    assert all(loss.dtype == torch.float32 for loss in from_half.losses.values())


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
