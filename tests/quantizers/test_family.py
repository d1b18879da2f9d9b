"""What every quantizer promises, on one, two and three axes."""

import math
from collections.abc import Callable

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import Tensor

from neuralcodecs.codec import Quantizer, QuantizerFactory
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers import Bypassed
from neuralcodecs.quantizers.binary import BSQ, GroupedLFQ
from neuralcodecs.quantizers.categorical import Categorical
from neuralcodecs.quantizers.fsq import FSQ, SymmetricFSQ
from neuralcodecs.quantizers.gaussian import GaussianKL
from neuralcodecs.quantizers.ibq import IBQ
from neuralcodecs.quantizers.projected import Projected
from neuralcodecs.quantizers.residual import ResidualVQ
from neuralcodecs.quantizers.split import Split
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
    "vq_bypassed": lambda: Bypassed(DIM, lambda d: VQ(d, 16), share=0.0),
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
    "split": lambda: Split(
        DIM,
        lambda d: Projected(d, lambda c: CosineVQ(c, 16), code_dim=2),
        lambda d: ResidualStack(d, lambda e: IBQ(e, 16), 2),
    ),
    "split_rvq": lambda: Split(
        DIM,
        lambda d: Projected(d, lambda c: ResidualVQ(c, 1, 16), code_dim=4, bias=False),
        lambda d: Projected(d, lambda c: ResidualVQ(c, 2, 16), code_dim=4, bias=False),
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
@pytest.mark.parametrize("name", [n for n in FAMILY if n not in ("gaussian", "rvq", "split_rvq")])
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
def test_every_parameter_gets_a_gradient_at_any_number_of_levels(name: str) -> None:
    """DDP stops at a parameter without one; for levels that are not in use it is zero."""
    for levels in range(1, len(FAMILY[name]().codebook_sizes) + 1):
        quantizer, latents = build(name, training=True), latents_on(2).requires_grad_()
        quantized = quantizer(latents, levels)
        (quantized.latents.square().sum() + sum(quantized.losses.values())).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in quantizer.parameters())


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
