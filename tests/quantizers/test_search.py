"""The nearest code: equal to EnCodec's, exact whatever the precision of products."""

import itertools

import pytest
import torch
from torch import Tensor
from transformers import EncodecConfig
from transformers.models.encodec.modeling_encodec import EncodecEuclideanCodebook

from neuralcodecs.quantizers.search import exact_products, nearest, nearest_sums


def test_search_is_that_of_encodec() -> None:
    generator = torch.Generator().manual_seed(5)
    reference = EncodecEuclideanCodebook(EncodecConfig(codebook_size=1024, codebook_dim=128))
    reference.embed.copy_(torch.randn(1024, 128, generator=generator))
    checked = 0
    for _ in range(10):
        vectors = torch.randn(10_000, 128, generator=generator)
        ours, theirs = nearest(vectors, reference.embed), reference.quantize(vectors)
        distances = [(vectors - reference.embed[codes]).double().square().sum(-1) for codes in (ours, theirs)]
        # its |x|^2 of about 128 rounds to 2^-17 x 128 / 2 at least: nearer than that neither can tell
        clear = (distances[0] - distances[1]).abs() > 1e-4
        assert not bool(clear.any())
        checked += int((ours == theirs).sum())
    assert checked > 99_990


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (7, 5), (300, 48), (5000, 1024), (33, 96)])
def test_search_finds_the_nearest_and_the_lowest_among_equals(rows: int, size: int) -> None:
    vectors, codebook = torch.randn(rows, 4), torch.randn(size, 4)
    codebook = torch.cat([codebook, codebook])  # every code twice
    exact = (vectors[:, None] - codebook[:size]).double().square().sum(-1)
    found = nearest(vectors, codebook)
    assert int(found.max()) < size
    torch.testing.assert_close(exact.gather(1, found[:, None])[:, 0], exact.amin(-1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_search_is_exact_whatever_the_matmul_precision(precision: str) -> None:
    vectors, codebook = torch.randn(20_000, 64), torch.randn(256, 64)
    expected = nearest(vectors, codebook)
    torch.set_float32_matmul_precision(precision)
    try:
        assert torch.equal(nearest(vectors, codebook), expected)
        assert torch.get_float32_matmul_precision() == precision  # and it is left as it was
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_torchs_two_settings_of_precision_never_contradict_each_other(precision: str) -> None:
    matmul = torch.backends.cuda.matmul
    torch.set_float32_matmul_precision(precision)
    before = matmul.fp32_precision
    try:
        with exact_products(torch.device("cpu")):
            # raises when they do; cuBLAS asks the same before a product
            assert matmul.allow_tf32 is False and matmul.fp32_precision == "ieee"
        assert torch.get_float32_matmul_precision() == precision and matmul.fp32_precision == before
    finally:
        torch.set_float32_matmul_precision("highest")


def test_precision_set_by_the_newer_setting_alone_is_kept() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    try:
        with exact_products(torch.device("cpu")):
            assert matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


def lost(vectors: Tensor, codebooks: Tensor, codes: Tensor) -> Tensor:
    """Squared error of each vector's sum of codes."""
    chosen = [codebook[column] for codebook, column in zip(codebooks, codes.unbind(1), strict=True)]
    return (vectors - torch.stack(chosen).sum(0)).double().square().sum(-1)


def test_a_beam_as_wide_as_all_sums_finds_the_nearest_of_all() -> None:
    generator = torch.Generator().manual_seed(1)
    codebooks, vectors = torch.randn(3, 5, 4, generator=generator), torch.randn(200, 4, generator=generator)
    every = torch.tensor(list(itertools.product(range(5), repeat=3)))
    errors = torch.stack([lost(vectors, codebooks, codes.expand(200, -1)) for codes in every])
    found = nearest_sums(vectors, codebooks, width=25)
    torch.testing.assert_close(lost(vectors, codebooks, found), errors.amin(0), rtol=1e-4, atol=1e-6)
    assert not torch.equal(nearest_sums(vectors, codebooks, width=1), found)


def test_a_wider_beam_loses_less_and_one_path_is_level_by_level() -> None:
    generator = torch.Generator().manual_seed(2)
    scales = torch.tensor([1.0, 0.7, 0.5, 0.35, 0.25])[:, None, None]
    codebooks = scales * torch.randn(5, 64, 8, generator=generator)
    vectors = torch.randn(3000, 8, generator=generator)
    left, greedy = vectors, []
    for codebook in codebooks:
        greedy.append(nearest(left, codebook))
        left = left - codebook[greedy[-1]]
    assert torch.equal(nearest_sums(vectors, codebooks, 1), torch.stack(greedy, dim=1))
    errors = [float(lost(vectors, codebooks, nearest_sums(vectors, codebooks, w)).mean()) for w in (1, 4, 16)]
    assert errors[1] < 0.85 * errors[0] and errors[2] < 0.93 * errors[1]
    assert nearest_sums(vectors[:0], codebooks, 4).shape == (0, 5)
    alone = torch.cat([nearest_sums(v[None], codebooks, 4) for v in vectors[:50]])
    assert torch.equal(nearest_sums(vectors, codebooks, 4)[:50], alone)
