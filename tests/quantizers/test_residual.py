"""The residual vector quantizer through the contract that codecs use."""

import copy
import io
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from neuralcodecs.codec import Quantized
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.residual import ResidualVQ

DIM = 8


def latents_on(axes: int, batch: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, DIM, *(16, 3, 2)[:axes], generator=generator)


def small(decay: float = 0.99, dead_threshold: float = 0.1) -> ResidualVQ:
    return ResidualVQ(DIM, codebooks=4, codebook_size=16, levels=(1, 2, 4), decay=decay, dead_threshold=dead_threshold)


def train(quantizer: ResidualVQ, steps: int, first: int = 0) -> None:
    quantizer.train()
    for step in range(first, first + steps):
        quantizer(latents_on(1, seed=step))
        quantizer.update()


def trained(decay: float = 0.99, dead_threshold: float = 0.1) -> ResidualVQ:
    quantizer = small(decay, dead_threshold)
    train(quantizer, 6)
    return quantizer


def same_state(one: ResidualVQ, other: ResidualVQ) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0] | states[1])


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_decoded_codes_are_the_latents_of_the_forward(axes: int) -> None:
    quantizer, latents = trained(), latents_on(axes)
    for training in (True, False):
        quantized = quantizer.train(training)(latents)
        assert quantized.latents.shape == latents.shape
        assert quantized.codes.shape == (len(latents), 4, *latents.shape[2:])
        assert torch.equal(quantizer.decode(quantized.codes), quantized.latents)
        assert torch.equal(quantizer.encode(latents), quantized.codes)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_every_position_is_coded_by_itself(axes: int) -> None:
    quantizer, latents = trained().eval(), latents_on(axes)
    codes = quantizer.encode(latents)
    alone = latents[2].flatten(1)[:, -1].view(1, DIM, *(1,) * axes)
    assert torch.equal(quantizer.encode(alone).flatten(), codes[2].flatten(1)[:, -1])


def test_each_level_codes_what_is_left_by_its_nearest_code() -> None:
    quantizer, latents = trained().eval(), latents_on(1)
    rest = latents.movedim(1, -1)
    for codes, codebook in zip(quantizer.encode(latents).unbind(1), quantizer.codebooks, strict=True):
        nearest = (rest[..., None, :] - codebook).square().sum(-1).argmin(-1)
        assert torch.equal(codes, nearest)
        rest = rest - codebook[nearest]
    lost = latents - quantizer(latents).latents
    torch.testing.assert_close(lost.movedim(1, -1), rest)


def test_fewer_levels_are_a_prefix() -> None:
    quantizer, latents = trained().eval(), latents_on(2)
    codes = quantizer.encode(latents)
    errors = []
    for levels in (1, 2, 3, 4):
        assert torch.equal(quantizer.encode(latents, levels), codes[:, :levels])
        quantized = quantizer(latents, levels)
        assert torch.equal(quantized.codes, codes[:, :levels])
        assert torch.equal(quantizer.decode(codes[:, :levels]), quantized.latents)
        errors.append(float(functional.mse_loss(quantized.latents, latents)))
    assert errors == sorted(errors, reverse=True) and errors[3] < 0.7 * errors[0]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_beam_codes_the_same_codebooks_with_less_error_at_any_number_of_levels(axes: int) -> None:
    quantizer, latents = trained().eval(), latents_on(axes)
    wider = ResidualVQ(DIM, codebooks=4, codebook_size=16, levels=(1, 2, 4), beam=8).eval()
    wider.load_state_dict(quantizer.state_dict())
    for levels in (1, 2, 3, 4):
        one, other = quantizer.encode(latents, levels), wider.encode(latents, levels)
        assert one.shape == other.shape
        errors = [float(functional.mse_loss(quantizer.decode(codes), latents)) for codes in (one, other)]
        assert errors[1] < errors[0] if levels > 2 else errors[1] <= errors[0] + 1e-6
        quantizer.widen(8)
        assert torch.equal(quantizer.encode(latents, levels), other)
        quantizer.widen(1)
    with pytest.raises(CodecError, match="a beam of 0 paths: give at least 1"):
        ResidualVQ(DIM, beam=0)


@pytest.mark.parametrize("training", [True, False])
def test_straight_through_gradient_is_one(training: bool) -> None:
    quantizer, latents = trained().train(training), latents_on(2).requires_grad_()
    upstream = torch.randn_like(latents)
    (gradient,) = torch.autograd.grad(quantizer(latents).latents, latents, upstream)
    assert torch.equal(gradient, upstream)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_commitment_is_the_mean_over_levels_and_reaches_each(levels: int) -> None:
    quantizer, latents = trained(), latents_on(1).requires_grad_()
    quantized = quantizer(latents, levels)
    rest, distances = latents.movedim(1, -1), []
    for codes, codebook in zip(quantized.codes.unbind(1), quantizer.codebooks, strict=False):
        distances.append(functional.mse_loss(rest, codebook[codes]))
        rest = rest - codebook[codes]
    expected = torch.stack(distances).mean()
    torch.testing.assert_close(quantized.losses["commitment"], expected)
    gradients = [torch.autograd.grad(loss, latents)[0] for loss in (quantized.losses["commitment"], expected)]
    # a difference of two means of magnitude 1, whose roundings are relative to 1 and not to the gradient of 1e-3
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-8)


def test_search_ignores_autocast() -> None:
    quantizer, latents = trained(), 3 * torch.randn(16, DIM, 256)
    plain = quantizer(latents)
    with torch.autocast("cpu", torch.bfloat16):
        cast = quantizer(latents)
        codes = quantizer.encode(latents)
    assert torch.equal(cast.codes, plain.codes) and torch.equal(codes, plain.codes)
    assert torch.equal(cast.latents, plain.latents) and cast.latents.dtype == torch.float32
    assert torch.equal(cast.losses["commitment"], plain.losses["commitment"])
    assert all(torch.equal(cast.statistics[name], plain.statistics[name]) for name in plain.statistics)


def test_half_precision_latents_come_back_as_such() -> None:
    quantizer, latents = trained(), latents_on(1).bfloat16().requires_grad_()
    quantized = quantizer(latents)
    assert quantized.latents.dtype == torch.bfloat16 and quantized.losses["commitment"].dtype == torch.float32
    assert torch.equal(quantized.codes, quantizer.encode(latents.float()))
    quantized.latents.float().sum().backward()
    assert latents.grad is not None and bool((latents.grad == 1).all())


def test_codebooks_stay_float32_when_the_model_does_not() -> None:
    quantizer = trained().bfloat16()
    assert {b.dtype for b in quantizer.buffers() if b.is_floating_point()} == {torch.float32}
    assert same_state(quantizer, trained())


def test_statistics_of_a_known_case() -> None:
    quantizer = ResidualVQ(1, codebooks=2, codebook_size=8)
    levels = torch.tensor([[0.0, 10, 20, 30, 40, 50, 60, 70], [0.0, 1, 2, 3, 4, 5, 6, 7]])
    quantizer.load_codebooks(levels[..., None])
    # first level: codes 0 to 3 evenly; second: 0 in half of the cases, 1 and 2 in a quarter each
    values = [a + b for a in (0.0, 10.0, 20.0, 30.0) for b in (0.0, 0.0, 1.0, 2.0)]
    statistics = quantizer.eval()(torch.tensor(values).view(2, 1, 8)).statistics
    assert set(statistics) == {"usage", "perplexity", "entropy", "replaced"}
    torch.testing.assert_close(statistics["usage"], torch.tensor([4 / 8, 3 / 8]))
    torch.testing.assert_close(statistics["entropy"], torch.tensor([2.0, 1.5]))
    torch.testing.assert_close(statistics["perplexity"], torch.tensor([4.0, 2**1.5]))
    assert torch.equal(statistics["replaced"], torch.zeros(2))


def test_replaced_codes_are_reported() -> None:
    quantizer = trained()
    quantizer.bank.usage[1, :5] = 0
    quantizer.bank.codebooks[1, :5] = 1e3
    train(quantizer, 1)
    assert quantizer(latents_on(1)).statistics["replaced"].tolist() == [0, 5, 0, 0]


def test_statistics_of_fewer_levels_are_theirs() -> None:
    quantizer = trained()
    quantized: Quantized = quantizer(latents_on(1), 2)
    assert {name: tuple(v.shape) for name, v in quantized.statistics.items()} == dict.fromkeys(
        ("usage", "perplexity", "entropy", "replaced"), (2,)
    )
    counts = quantizer.bank.pending.counts.sum(-1)
    assert counts.tolist() == [64, 64, 0, 0]


def test_levels_that_a_step_leaves_out_stay() -> None:
    quantizer = trained()
    before = quantizer.codebooks.clone()
    quantizer(latents_on(1), 2)
    quantizer.update()
    moved = (quantizer.codebooks != before).flatten(1).any(-1)
    assert moved.tolist() == [True, True, False, False]


@pytest.mark.parametrize("pending", [False, True])
def test_training_continues_bit_identically_from_a_state_dict(pending: bool) -> None:
    for steps in (2, 8):  # while levels are still joining, and after
        quantizer = small(decay=0.8)
        train(quantizer, steps)
        if pending:
            quantizer(latents_on(1, seed=100))
        file = io.BytesIO()
        torch.save(quantizer.state_dict(), file)
        file.seek(0)
        restored = small(decay=0.8)
        restored.load_state_dict(torch.load(file, weights_only=True))
        for each in (quantizer, restored):
            train(each, 4, first=200)
        assert same_state(quantizer, restored)
        assert not same_state(quantizer, trained())


def test_codebooks_alone_are_a_trained_quantizer() -> None:
    quantizer, latents = trained(), latents_on(1)
    published = small()
    published.load_state_dict({"bank.codebooks": quantizer.codebooks})
    assert torch.equal(published.encode(latents), quantizer.encode(latents))
    assert published.train()(latents).codes.shape[1] == 4
    other = small()
    other.load_codebooks(quantizer.codebooks)
    assert torch.equal(other.codebooks, quantizer.codebooks)
    with pytest.raises(CodecError, match=r"\(3, 16, 8\)"):
        other.load_codebooks(quantizer.codebooks[:3])


def test_same_input_twice_gives_the_same_bits_whatever_the_global_seed() -> None:
    one = trained()
    torch.manual_seed(123)
    state = torch.get_rng_state()
    other = trained()
    assert same_state(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_discard_forgets() -> None:
    quantizer, other = trained(), trained()
    quantizer(latents_on(1, seed=50))
    quantizer.discard()
    for each in (quantizer, other):
        train(each, 2, first=60)
    assert same_state(quantizer, other)


def test_evaluation_learns_nothing() -> None:
    quantizer = trained()
    before = copy.deepcopy(quantizer)
    quantizer.eval()(latents_on(1))
    quantizer.encode(latents_on(1))
    assert same_state(quantizer, before)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("skipped", [True, False])
@pytest.mark.parametrize("steps", [0, 2, 6])
def test_latents_that_are_not_finite_leave_codebooks_finite(poison: float, skipped: bool, steps: int) -> None:
    quantizer = small()
    train(quantizer, steps)
    before = quantizer.codebooks.clone()
    latents = latents_on(1)
    latents[1, :, 3:9] = poison
    quantizer(latents)
    if skipped:
        quantizer.discard()
        assert torch.equal(quantizer.codebooks, before)
    else:
        quantizer.update()
    train(quantizer, 6)
    assert all(bool(buffer.isfinite().all()) for buffer in quantizer.buffers())


def test_copies_are_independent() -> None:
    quantizer = trained()
    twin = copy.deepcopy(quantizer)
    for each in (quantizer, twin):
        train(each, 3, first=10)
    assert same_state(quantizer, twin)
    train(twin, 1)
    assert not same_state(quantizer, twin)


def test_describes_itself() -> None:
    description = ResidualVQ(DIM, 4, 16).describe(("dim",))
    assert description["class_path"] == "neuralcodecs.quantizers.residual.ResidualVQ"
    assert description["init_args"] == {
        "codebooks": 4,
        "codebook_size": 16,
        "levels": None,
        "decay": 0.99,
        "dead_threshold": 0.1,
        "kmeans_iterations": 50,
        "beam": 1,
    }


def test_until_a_level_has_started_latents_pass_as_they_are() -> None:
    quantizer, latents = small().train(), latents_on(2).requires_grad_()
    quantized = quantizer(latents)
    assert torch.equal(quantized.latents, latents)
    assert quantized.codes.shape == (4, 0, 16, 3)
    assert float(quantized.losses["commitment"].detach()) == 0
    (gradient,) = torch.autograd.grad(quantized.latents.sum() + quantized.losses["commitment"], latents)
    assert bool((gradient == 1).all())
    quantizer.update()
    assert quantizer(latents).codes.shape[1] == 1


@pytest.mark.parametrize("levels", [(), (0, 4), (2, 1, 4), (1, 2), (1, 1, 4), (2, 5)])
def test_impossible_levels_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(CodecError, match="levels"):
        ResidualVQ(DIM, codebooks=4, codebook_size=16, levels=levels)


def test_codes_and_levels_out_of_range_are_refused() -> None:
    quantizer = trained()
    for wrong in (-1, 16):
        with pytest.raises(CodecError, match="0 to 15"):
            quantizer.decode(torch.full((1, 4, 3), wrong))
    with pytest.raises(CodecError, match="1 to 4"):
        quantizer.decode(torch.zeros(1, 5, 3, dtype=torch.int64))
    for levels in (0, 5):
        with pytest.raises(CodecError, match="1 to 4"):
            quantizer.encode(latents_on(1), levels)
