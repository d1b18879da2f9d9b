"""Binary quantizers and the entropy regulariser: exact against the formulas that lay out every code."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from vector_quantize_pytorch import LFQ

from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.binary import BSQ, GroupedLFQ
from neuralcodecs.quantizers.entropy import Entropies, binary_entropies, bit_entropy, dense_entropies, entropy

TAU = 0.01


def corners(bits: int) -> Tensor:
    """All codes of a group in the order of their index, least significant bit first."""
    return 2.0 * ((torch.arange(2**bits)[:, None] >> torch.arange(bits)) & 1) - 1


def dense_assignment(x: Tensor, groups: int) -> Tensor:
    """The paper's definition: softmax over all corners of 2 <x, c> / tau, as (n, groups, 2 ** bits)."""
    x = x.view(len(x), groups, -1)
    return torch.softmax(2 / TAU * x @ corners(x.shape[-1]).to(x).T, dim=-1)


def dense_reference(x: Tensor, groups: int) -> Entropies:
    p = dense_assignment(x, groups)
    floor = torch.finfo(p.dtype).tiny

    def h(q: Tensor) -> Tensor:
        return -(q * (q + floor).log()).sum(-1)

    return Entropies(h(p).sum(1).mean(), h(p.mean(0)).sum())


def undecided(n: int, d: int) -> Tensor:
    """Latents near zero, so that bits with tau = 0.01 are neither all sure nor all unsure."""
    return 0.02 * torch.randn(n, d, dtype=torch.float64)


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_token_entropy_is_the_sum_over_bits_and_that_of_the_dense_softmax(groups: int) -> None:
    x = undecided(200, 8)
    token = GroupedLFQ(8, groups)(x.float().T[None]).losses["token_entropy"].double()
    p = torch.sigmoid(4 * x / TAU)
    over_bits = -(torch.special.xlogy(p, p) + torch.special.xlogy(1 - p, 1 - p)).sum(1).mean()
    over_all_codes = dense_reference(x, 1).conditional
    assert over_bits > 0.5
    torch.testing.assert_close(token, over_bits, atol=1e-6, rtol=0)
    torch.testing.assert_close(token, over_all_codes, atol=1e-6, rtol=0)


def test_codebook_entropy_is_exact_per_group_and_bounds_the_joint_one_from_above() -> None:
    x = 2.5 * undecided(100, 8)
    joint = dense_reference(x, 1).marginal
    by_groups = []
    for groups in (1, 2, 4, 8):
        marginal = -GroupedLFQ(8, groups)(x.float().T[None]).losses["codebook_entropy"].double()
        torch.testing.assert_close(marginal, dense_reference(x, groups).marginal, atol=2e-6, rtol=0)
        by_groups.append(marginal)
    torch.testing.assert_close(by_groups[0], joint, atol=2e-6, rtol=0)
    # 100 positions cannot use 256 codes alike, yet bits that are each even look as if they did
    assert joint < by_groups[1] < by_groups[2] < by_groups[3] <= 8 * math.log(2) + 1e-6
    assert by_groups[3] > joint + 0.5


@pytest.mark.parametrize(("bits", "groups"), [(1, 3), (2, 2), (5, 1), (3, 2)])
def test_gradients_are_those_of_the_dense_formula(bits: int, groups: int) -> None:
    x = undecided(20, bits * groups).requires_grad_()
    for term in range(2):
        ours = binary_entropies(4 / TAU * x.view(20, groups, bits))[term]
        (gradient,) = torch.autograd.grad(ours, x)
        (expected,) = torch.autograd.grad(dense_reference(x, groups)[term], x)
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_gradcheck() -> None:
    logits = torch.randn(4, 2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: tuple(binary_entropies(t)), logits)
    assert torch.autograd.gradcheck(lambda t: tuple(binary_entropies(t, pool=True)), logits)
    assert torch.autograd.gradcheck(lambda t: tuple(dense_entropies(t.softmax(-1), torch.tensor([0, 1, 0, 2]))), logits)


def test_pooled_groups_are_those_of_weToks_released_code() -> None:
    x = undecided(50, 8)
    p = dense_assignment(x, 4)
    losses = GroupedLFQ(8, 4, pool_groups=True)(x.float().T[None]).losses
    expected_token = entropy(p).mean()  # over positions and groups
    expected_codebook = entropy(p.mean((0, 1)))  # of one histogram for all groups
    torch.testing.assert_close(losses["token_entropy"].double(), expected_token, atol=1e-6, rtol=0)
    torch.testing.assert_close(-losses["codebook_entropy"].double(), expected_codebook, atol=1e-6, rtol=0)
    assert not torch.isclose(-losses["codebook_entropy"].double(), dense_reference(x, 4).marginal)


@pytest.mark.parametrize("scale", [0.0, 1e-8, 1.0, 1e3])
def test_entropies_and_gradients_are_finite_however_sure_the_bits(scale: float) -> None:
    x = (scale * torch.randn(1, 18, 16)).requires_grad_()
    losses = GroupedLFQ(18)(x).losses
    sum(losses.values(), start=torch.zeros(())).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert x.grad is not None and x.grad.isfinite().all()


def test_bit_entropy_has_no_cancellation_where_bits_are_sure() -> None:
    logits = torch.tensor([-30.0, -10, 0, 10, 30, 60])
    exact = logits.double().abs()
    expected = torch.log1p((-exact).exp()) + exact / (1 + exact.exp())
    torch.testing.assert_close(bit_entropy(logits).double(), expected, rtol=1e-6, atol=0)


def test_uniform_use_of_all_codes_is_the_minimum_of_codebook_entropy() -> None:
    latents = corners(6).T[None]  # each of the 64 codes once, and sure
    losses = GroupedLFQ(6)(latents).losses
    torch.testing.assert_close(losses["codebook_entropy"], torch.tensor(-6 * math.log(2)))
    assert losses["token_entropy"] < 1e-6
    assert losses["commitment"] == 0


def test_bits_of_lookup_free_codes_are_least_significant_first_and_zero_is_negative() -> None:
    latents = torch.tensor([0.3, -2.0, 0.0, -0.1, 0.0, 5.0]).view(1, 6, 1)
    quantizer = GroupedLFQ(6, groups=2)
    codes = quantizer.encode(latents)
    assert codes.flatten().tolist() == [1, 4]
    assert quantizer.decode(codes).flatten().tolist() == [1, -1, -1, -1, -1, 1]


def test_bits_of_spherical_codes_are_most_significant_first_and_zero_is_positive() -> None:
    quantizer = BSQ(3)
    fixture = torch.tensor([3.0, -4.0, 0.0]).view(1, 3, 1)  # specs/audio_lowrate.md 2.2
    quantized = quantizer(fixture)
    assert quantized.codes.item() == 5
    torch.testing.assert_close(quantized.latents.flatten(), torch.tensor([1.0, -1, 1]) / math.sqrt(3))
    assert quantizer.encode(torch.tensor([1.0, -1, -1]).view(1, 3, 1)).item() == 4
    assert BSQ(6, groups=2).encode(torch.tensor([1.0, -1, -1, -1, 1, 1]).view(1, 6, 1)).flatten().tolist() == [4, 3]


@pytest.mark.parametrize("groups", [1, 13])
def test_spherical_entropies_are_those_of_the_softmax_over_all_8192_codes(groups: int) -> None:
    x = functional.normalize(torch.randn(40, 13, dtype=torch.float64), dim=1) * 7
    u = functional.normalize(x, dim=1)
    p = torch.softmax(2 / TAU * u @ corners(13).double().T / math.sqrt(13), dim=-1)
    losses = BSQ(13, groups)(x.float().T[None]).losses
    torch.testing.assert_close(losses["token_entropy"].double(), entropy(p).mean(), atol=1e-6, rtol=1e-6)
    if groups == 1:
        torch.testing.assert_close(-losses["codebook_entropy"].double(), entropy(p.mean(0)), atol=2e-6, rtol=0)
    else:
        assert -losses["codebook_entropy"] > entropy(p.mean(0))


def test_agrees_with_vector_quantize_pytorch() -> None:
    theirs = LFQ(codebook_size=2**8, dim=8, commitment_loss_weight=1.0, channel_first=True).train()
    x = 0.02 * torch.randn(2, 8, 64)
    (latents, indices, _), breakdown = theirs(x, inv_temperature=1 / TAU, return_loss_breakdown=True)
    ours = GroupedLFQ(8)(x)
    torch.testing.assert_close(ours.latents, latents)
    bits = (ours.codes[:, 0, :, None] >> torch.arange(8)) & 1
    assert torch.equal((bits.flip(-1) << torch.arange(8)).sum(-1), indices.long())  # theirs is most significant first
    # theirs clamps probabilities at 1e-5 before the logarithm
    torch.testing.assert_close(ours.losses["token_entropy"], breakdown.per_sample_entropy, atol=1e-3, rtol=0)
    torch.testing.assert_close(-ours.losses["codebook_entropy"], breakdown.batch_entropy, atol=1e-3, rtol=0)
    torch.testing.assert_close(ours.losses["commitment"], breakdown.commitment)


def peak_allocated(run: object) -> int:
    """Most bytes allocated at once on the CPU by ``run``, beyond what there was."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()  # type: ignore[operator]
    changes = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    total = peak = 0
    for event in sorted(changes, key=lambda e: e.start_ns()):
        total += event.nbytes()
        peak = max(peak, total)
    return peak


@pytest.mark.parametrize(("dim", "groups"), [(64, 8), (18, 1)])
def test_memory_of_a_training_pass_over_4096_positions(dim: int, groups: int) -> None:
    quantizer = GroupedLFQ(dim, groups)
    latents = torch.randn(16, dim, 16, 16, requires_grad=True)

    def train() -> None:
        quantized = quantizer(latents)
        (quantized.latents.sum() + sum(quantized.losses.values())).backward()

    peak = peak_allocated(train)
    dense = 4 * 4096 * 2**18  # bytes of one probability per position and code at 18 bits
    assert 2**20 < peak < (64 * 2**20 if groups == 8 else dense / 20)


def test_labels_in_place_of_samples() -> None:
    p = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5], [0.7, 0.3]]).unsqueeze(1)
    own_class = dense_entropies(p, torch.arange(4))
    without = dense_entropies(p)
    torch.testing.assert_close(own_class.conditional, without.conditional)
    torch.testing.assert_close(own_class.marginal, without.marginal)
    one_class = dense_entropies(p, torch.zeros(4, dtype=torch.int64))
    torch.testing.assert_close(one_class.conditional, one_class.marginal)  # no information about a single class
    pairs = dense_entropies(p, torch.tensor([7, 7, 3, 7]))  # labels need be neither dense nor sorted
    expected = 3 / 4 * entropy(torch.tensor([1.7, 1.3]) / 3) + 1 / 4 * math.log(2)
    torch.testing.assert_close(pairs.conditional, expected)


@pytest.mark.parametrize("quantizer", [GroupedLFQ, BSQ])
def test_impossible_groups_are_refused_with_a_remedy(quantizer: type) -> None:
    with pytest.raises(CodecError, match="10 latent channels do not divide into 4 groups"):
        quantizer(10, groups=4)
    with pytest.raises(CodecError, match="use more groups"):
        quantizer(64, groups=2)
    assert quantizer(64, groups=8).codebook_sizes == (256,) * 8
