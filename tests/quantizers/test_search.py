"""The nearest code: equal to EnCodec's, exact whatever the precision of products."""

import pytest
import torch
from transformers import EncodecConfig
from transformers.models.encodec.modeling_encodec import EncodecEuclideanCodebook

from neuralcodecs.quantizers.search import exact_products, nearest


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
