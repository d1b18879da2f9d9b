"""The order of draws: counter-based, fair, and with every file in every epoch."""

import numpy as np
import pytest

from neuralcodecs.training import sampling
from neuralcodecs.training.sampling import DrawOrder, Purpose, generator, pick

SHARES = [np.ones(5), np.array([2.5, 0.3, 1.0, 7.25]), np.array([0.01, 0.02]), np.array([3.7])]


@pytest.mark.parametrize("shares", SHARES, ids=str)
def test_any_draw_can_be_asked_first(shares: np.ndarray) -> None:
    forward = DrawOrder(shares, 5)
    order = [forward[n] for n in range(2000)]
    for draw in np.random.default_rng(0).permutation(2000)[:200].tolist():
        assert DrawOrder(shares, 5)[draw] == order[draw]


@pytest.mark.parametrize("shares", SHARES, ids=str)
def test_shares_are_met(shares: np.ndarray) -> None:
    order = DrawOrder(shares, 5)
    draws = 3000
    counted = np.bincount([order[n] for n in range(draws)], minlength=len(shares))
    expected = draws * shares / shares.sum()
    # one file's count is off by its rounding and by the part of an epoch in which the draws end
    assert np.all(np.abs(counted - expected) <= 2 + np.ceil(shares))


def test_every_file_comes_once_an_epoch_in_a_new_order() -> None:
    order = DrawOrder(np.ones(50), 5)
    epochs = [[order[n] for n in range(start, start + 50)] for start in range(0, 250, 50)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_another_seed_is_another_order() -> None:
    first, second = DrawOrder(np.ones(50), 1), DrawOrder(np.ones(50), 2)
    assert [first[n] for n in range(50)] != [second[n] for n in range(50)]


def test_huge_sets_have_bounded_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MAX_EPOCH", 100)
    order = DrawOrder(np.full(1000, 7.0), 0)
    seen = np.bincount([order[n] for n in range(1000)], minlength=1000)
    assert len(order._files) < 200 and abs(seen.sum() / 1000 - 1) < 1e-9 and seen.max() <= 2


def test_streams_of_other_numbers_and_purposes_differ() -> None:
    def first(seed: int, purpose: Purpose, number: int) -> int:
        return int(generator(seed, purpose, number).integers(2**62))

    keys = [(s, p, n) for s in (0, 1, 2**62) for p in Purpose for n in (0, 1, 2**40)]
    assert len({first(*key) for key in keys}) == len(keys)
    assert first(3, Purpose.DRAW, 9) == first(3, Purpose.DRAW, 9)
    # a stream that is used at length does not run into the next one
    long = generator(0, Purpose.DRAW, 0).integers(2**62, size=4000).tolist()
    assert not set(long) & set(generator(0, Purpose.DRAW, 1).integers(2**62, size=4000).tolist())


def test_pick_follows_the_weights() -> None:
    source = np.random.default_rng(0)
    counted = np.bincount([pick(np.array([1.0, 0.0, 3.0]), source) for _ in range(4000)], minlength=3)
    assert counted[1] == 0 and abs(counted[2] / 4000 - 0.75) < 0.03
