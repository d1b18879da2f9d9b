"""Counted priors: tables are legal for any codes, both sides agree, and counting saves bits on real speech."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_codes import ALPHABET, speech_codes
from stepped import stepped

from neuralcodecs.bitstream.range_coder import TOTAL, check_table, table_of, uniform_table
from neuralcodecs.errors import CodecError
from neuralcodecs.priors import counted
from neuralcodecs.priors.counted import AdaptivePrior, StaticPrior
from neuralcodecs.priors.prior import ends_of, table_bits, tables_of


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from([1, 2, 3, 100, 1025]), min_size=1, max_size=3),
    st.integers(1, 12),
    st.integers(1, 1024),
)
def test_both_sides_give_the_same_legal_tables(seed: int, alphabet: list[int], positions: int, increment: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(0, size, (2, positions), generator=generator) for size in alphabet]
    codes = torch.stack(rows, 1)
    static = StaticPrior(tuple(alphabet))
    static.count(codes)
    for prior in (static, AdaptivePrior(tuple(alphabet), increment)):
        for levels in range(1, len(alphabet) + 1):
            tables = prior.teacher_forced(codes[:, :levels])
            assert torch.equal(tables, stepped(prior, codes[:, :levels]))
            for level, size in enumerate(alphabet[:levels]):
                own = tables[:, :, level].flatten(0, 1)
                check_table(own[-1, : size + 1].numpy())
                assert (own[:, size:] == TOTAL).all()


def test_the_rule_is_the_range_coders() -> None:
    counts = np.random.default_rng(0).integers(0, 2**20, (50, 33))
    assert np.array_equal(tables_of(torch.from_numpy(counts), (33,) * 50).numpy(), table_of(counts))


def test_uncounted_codes_are_equally_likely() -> None:
    assert np.array_equal(StaticPrior((1000,)).tables[0].numpy(), uniform_table(1000))


def test_counts_of_few_files_that_foretell_nothing_cost_nothing() -> None:
    """Added to by 1, they would cost 1.6 % of the bits here."""
    generator, prior = torch.Generator().manual_seed(0), StaticPrior((1024,))
    for _ in range(4):
        prior.count(torch.randint(0, 1024, (1, 1, 500), generator=generator))
    assert table_bits(prior, torch.randint(0, 1024, (1, 1, 2000), generator=generator)) < 1.001 * 20000
    for _ in range(4):  # where files are alike, every symbol is counted once more than it was seen
        prior.count(torch.zeros(1, 1, 5000, dtype=torch.int64))
    assert prior.tables.diff().amin() <= 2**24 / 22000


def test_adaptive_counts_are_those_of_the_codes_before() -> None:
    codes = torch.tensor([[[2, 2, 0, 2]]])
    tables = AdaptivePrior((3,), increment=5).teacher_forced(codes)[0, :, 0].numpy()
    for position, counts in enumerate([[1, 1, 1], [1, 1, 6], [1, 1, 11], [6, 1, 11]]):
        assert np.array_equal(tables[position], table_of(np.array(counts)))


def test_counting_saves_bits_on_speech() -> None:
    train, tests = speech_codes()
    codes = torch.cat(tests, -1)
    nominal = sum(map(math.log2, ALPHABET)) / len(ALPHABET)
    static = StaticPrior(ALPHABET)
    for half in train.chunk(2):
        static.count(half)
    assert table_bits(StaticPrior(ALPHABET), codes) / codes.numel() == pytest.approx(nominal, abs=1e-4)
    # k-means uses its codes nearly evenly: little to save, less than a transformer finds (test_export.py)
    assert table_bits(static, codes) / codes.numel() < nominal - 0.03
    assert table_bits(AdaptivePrior(ALPHABET), codes) / codes.numel() < nominal - 0.03


@pytest.mark.parametrize("prior", [StaticPrior((5, 3)), AdaptivePrior((5, 3))])
def test_codes_outside_the_alphabet_are_refused(prior: StaticPrior | AdaptivePrior) -> None:
    for codes in ([[[5], [0]]], [[[0], [3]]], [[[-1], [0]]], [[[0], [0], [0]]]):
        with pytest.raises(CodecError, match="prior"):
            prior.teacher_forced(torch.tensor(codes))
    with pytest.raises(CodecError, match="levels"):
        prior.start(1, 3)


@pytest.mark.parametrize(
    ("kind", "alphabet"), [(StaticPrior, (2**18 + 1,)), (AdaptivePrior, (4097,)), (StaticPrior, ())]
)
def test_alphabets_beyond_a_table_are_refused(
    kind: type[StaticPrior] | type[AdaptivePrior], alphabet: tuple[int, ...]
) -> None:
    with pytest.raises(CodecError, match="alphabet"):
        kind(alphabet)


def test_increments_that_could_overflow_are_refused() -> None:
    with pytest.raises(CodecError, match="increment"):
        AdaptivePrior((5,), increment=1025)


def test_adaptive_tables_are_made_in_bounded_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The intervals of all codes at once, with no more table entries at a time than are allowed."""
    made: list[int] = []

    def spied(counts: torch.Tensor, alphabet: tuple[int, ...]) -> torch.Tensor:
        made.append(counts.numel())
        return tables_of(counts, alphabet)

    prior, codes = AdaptivePrior((300, 4096)), torch.randint(0, 300, (2, 2, 200))
    expected = ends_of(prior.teacher_forced(codes), codes)
    monkeypatch.setattr(counted, "tables_of", spied)
    for ends, whole in zip(prior.intervals(codes), expected, strict=True):
        assert torch.equal(ends, whole)
    assert len(made) > 2 and max(made) <= counted.TABLE_ENTRIES
    assert all(ends.shape == (2, 0, 2) for ends in prior.intervals(codes[..., :0]))
