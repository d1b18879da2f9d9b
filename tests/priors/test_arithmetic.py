"""The pieces of PEM-24 against plain Python integers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralcodecs.errors import CodecError
from neuralcodecs.layers.exact import exact
from neuralcodecs.priors.arithmetic import ACTIVATION, ExactLinear, Lookups, check_alphabet, check_sizes

SEEDS = st.integers(0, 2**32 - 1)


def filled(generator: torch.Generator, columns: int, rows: int, spread: float) -> ExactLinear:
    linear = ExactLinear(columns, rows)
    weight = spread * torch.randn(rows, columns, generator=generator)
    linear.fill(weight, torch.randn(rows, generator=generator), 6, torch.full((rows,), 5))
    return linear


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 300), st.sampled_from([1e-4, 0.1, 3.0]))
def test_linear_is_exact_at_its_largest_sums(seed: int, columns: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    linear = filled(generator, columns, 5, spread)
    worst = ACTIVATION * linear.weight[0].sign()
    x = torch.cat([worst[None], torch.randint(-ACTIVATION, ACTIVATION + 1, (3, columns), generator=generator)])
    expected = []
    for row in x.long().tolist():
        for weights, bias, scale in zip(linear.weight.long().tolist(), linear.bias, linear.scale, strict=True):
            total = sum(a * w for a, w in zip(row, weights, strict=True)) + int(bias)
            assert abs(total) < 2**24
            shift = round(-math.log2(scale))
            assert shift >= 1
            expected.append(total + (1 << shift - 1) >> shift)
    with exact():
        assert linear(x).long().flatten().tolist() == expected
        assert linear.double()(x.double()).long().flatten().tolist() == expected


def test_linear_is_the_float_layer_but_for_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(40, 64, generator=generator) / 8, torch.randn(40, generator=generator)
    linear = ExactLinear(64, 40)
    linear.fill(weight, bias, 6, torch.full((40,), 10))
    x = torch.randint(-100, 101, (50, 64), generator=generator).float()
    torch.testing.assert_close(linear(x) / 2**10, x / 2**6 @ weight.T + bias, atol=0.02, rtol=0)


def test_weights_too_large_for_exact_rounding_are_refused() -> None:
    with pytest.raises(CodecError, match="too large"):
        ExactLinear(4, 2).fill(torch.tensor([[1.0] * 4, [100.0] * 4]), torch.zeros(2), 6, torch.full((2,), 10))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.sampled_from([1, 16, 200, 512]), st.sampled_from([0, 1, 1000, 2**17]))
def test_norm_is_the_integer_rule_and_close_to_the_root(seed: int, dim: int, largest: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-largest, largest + 1, (3, dim), generator=generator)
    lookups = Lookups(dim)
    found = lookups.norm(x.float())
    for row, own in zip(x.tolist(), found.long().tolist(), strict=True):
        squares = sum(v * v for v in row)
        root = int(lookups.roots[sum(t <= squares for t in lookups.thresholds.tolist())])
        assert own == [max(-255, min(255, v * root + 2**23 >> 24)) for v in row]
        if squares < 2**12:  # the table's steps are coarser there: a millionth of a residual's range
            continue
        exactly = [64 * v / math.sqrt(max(squares, 1) / dim) for v in row]
        assert all(abs(max(-255, min(255, e)) - v) < 0.51 + 0.004 * abs(e) for e, v in zip(exactly, own, strict=True))


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 300), st.sampled_from([0, 5, 300, 3000]))
def test_attention_weights_are_the_integer_rule(seed: int, count: int, spread: int) -> None:
    scores = torch.randint(-spread, spread + 1, (2, count), generator=torch.Generator().manual_seed(seed))
    lookups = Lookups(16)
    weights = lookups.weights(scores.float()).long()
    for row, own in zip(scores.tolist(), weights.tolist(), strict=True):
        power = [int(lookups.exponentials[min(max(row) - s, 768)]) for s in row]
        assert own == [p * (2**46 // sum(power)) >> 31 for p in power]
        assert 2**15 - count <= sum(own) <= 2**15


def test_stored_tables_are_the_specification() -> None:
    lookups = Lookups(128)
    assert lookups.exponentials[[0, 32, 512, 544, 545, 768]].tolist() == [2**16, 2**15, 1, 1, 0, 0]
    assert len(lookups.exponentials) == 769 and len(lookups.thresholds) == 2816 and len(lookups.roots) == 2817
    assert lookups.thresholds[[0, 64, 2815]].tolist() == [1, 2, math.floor(2 ** (2815 / 64))]
    assert lookups.roots[0] == 2**30
    assert lookups.roots[1] == round(2**30 * math.sqrt(128) / 2 ** (1 / 256))


def test_the_guard_is_needed_and_works() -> None:
    linear = filled(torch.Generator().manual_seed(0), 256, 64, 0.1)
    x = torch.randint(-ACTIVATION, ACTIVATION + 1, (64, 256), generator=torch.Generator().manual_seed(1)).float()
    plain = linear(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(linear(x), plain)
        with exact():
            assert torch.equal(linear(x), plain)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_the_guard_sets_and_restores_the_precision_of_matrix_products(precision: str) -> None:
    def settings_now() -> tuple[str, str]:
        return torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision

    torch.set_float32_matmul_precision(precision)
    try:
        before = settings_now()
        with pytest.raises(RuntimeError, match="inside"), exact():
            assert settings_now() == ("ieee", "ieee")
            raise RuntimeError("inside")
        assert settings_now() == before != ("ieee", "ieee")
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    "sizes", [(513, 1, 10), (0, 1, 10), (128, 3, 10), (512, 1, 10), (64, 0, 10), (64, 4, 0), (64, 4, 2**15 + 1)]
)
def test_sizes_that_would_not_be_exact_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(CodecError):
        check_sizes(*sizes)


@pytest.mark.parametrize("alphabet", [(), (0,), (4097,)])
def test_alphabets_that_do_not_fit_are_refused(alphabet: tuple[int, ...]) -> None:
    with pytest.raises(CodecError, match="alphabet"):
        check_alphabet(alphabet)
