"""Codebooks: how they start, move, die and come back; k-means; the draws."""

import pytest
import torch
from torch import Tensor

from neuralcodecs.quantizers.codebook import CodebookBank
from neuralcodecs.quantizers.draws import strata, uniform, weighted_order
from neuralcodecs.quantizers.kmeans import kmeans, replace
from neuralcodecs.quantizers.residual import ResidualVQ
from neuralcodecs.quantizers.search import nearest

DIM, SIZE = 8, 64


def clustered(rows: int, seed: int, spread: float = 0.3) -> Tensor:
    """``(1, DIM, rows)`` around 64 centres that are the same for every seed."""
    centres = torch.randn(SIZE, DIM, generator=torch.Generator().manual_seed(1234))
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(SIZE, (rows,), generator=generator)
    return (centres[which] + spread * torch.randn(rows, DIM, generator=generator)).T[None]


def step(quantizer: ResidualVQ, *micro_batches: Tensor) -> None:
    for latents in micro_batches:
        quantizer(latents)
    quantizer.update()


def started(levels: int = 1, decay: float = 0.99, dead_threshold: float = 0.1) -> ResidualVQ:
    quantizer = ResidualVQ(DIM, levels, SIZE, decay=decay, dead_threshold=dead_threshold).train()
    for seed in range(levels + 2):
        step(quantizer, clustered(2048, seed))
    return quantizer


def killed(quantizer: ResidualVQ, forgotten: bool = True) -> ResidualVQ:
    """Half of the codes of every level out of reach; ``forgotten``: with no usage left."""
    quantizer.bank.codebooks[:, ::2] = 1e3
    if forgotten:
        quantizer.bank.usage[:, ::2] = 0
    return quantizer


def in_use(quantizer: ResidualVQ, seed: int) -> list[int]:
    codes = quantizer.encode(clustered(4096, seed))
    return [len(level.unique()) for level in codes.unbind(1)]


@pytest.mark.parametrize(("decay", "forgotten"), [(0.99, True), (0.8, False)])
@pytest.mark.parametrize("levels", [1, 3])
def test_dead_codes_come_back(levels: int, decay: float, forgotten: bool) -> None:
    quantizer = killed(started(levels, decay), forgotten)
    assert in_use(quantizer, 99)[0] <= SIZE // 2
    for seed in range(100, 120):
        step(quantizer, clustered(2048, seed))
    assert in_use(quantizer, 999) == [SIZE] * levels


def test_dead_codes_stay_where_nothing_replaces_them() -> None:
    quantizer = killed(started(dead_threshold=0.0))
    for seed in range(100, 120):
        step(quantizer, clustered(2048, seed))
    assert in_use(quantizer, 999) == [SIZE // 2]


def test_replaced_codes_are_vectors_of_the_step_and_survive_its_update() -> None:
    quantizer, latents = killed(started()), clustered(2048, 7)
    step(quantizer, latents)
    fresh, rows = quantizer.codebooks[0, ::2].clone(), latents[0].T
    assert int(quantizer.bank.replaced) >= SIZE // 2
    assert bool((fresh[:, None] == rows).all(-1).any(-1).all())
    assert len(fresh.unique(dim=0)) == len(fresh)
    # the next step moves those that attract vectors, and gives the few that do not a second chance
    step(quantizer, clustered(2048, 8))
    assert int(quantizer.bank.replaced) <= SIZE // 8
    moved = (quantizer.codebooks[0, ::2] - fresh).norm(dim=-1)
    assert int((moved < 1).sum()) >= SIZE // 2 - SIZE // 8


def test_codes_move_by_the_running_average() -> None:
    decay = 0.9
    quantizer, latents = started(decay=decay, dead_threshold=0.0), clustered(512, 3)
    codebook, usage = quantizer.codebooks[0].double(), quantizer.bank.usage[0].double()
    codes, rows = quantizer.encode(latents).flatten(), latents[0].T.double()
    hits = torch.bincount(codes, minlength=SIZE)
    sums = torch.zeros_like(codebook).index_add_(0, codes, rows)
    averages = decay * usage[:, None] * codebook + (1 - decay) * sums  # van den Oord's N and m
    counts = decay * usage + (1 - decay) * hits
    step(quantizer, latents)
    torch.testing.assert_close(quantizer.codebooks[0].double(), averages / counts[:, None], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(quantizer.bank.usage[0].double(), counts, rtol=1e-5, atol=1e-5)


def test_micro_batches_count_as_one_batch() -> None:
    # which vector replaces a code depends on how they came, so none is replaced
    whole, halves = started(levels=3, dead_threshold=0.0), started(levels=3, dead_threshold=0.0)
    for seed in range(10, 15):
        latents = clustered(2048, seed)
        step(whole, latents)
        step(halves, *latents.chunk(2, dim=-1))
    torch.testing.assert_close(halves.codebooks, whole.codebooks, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(halves.bank.usage, whole.bank.usage, rtol=1e-5, atol=1e-5)
    assert int(whole.bank.updates) == int(halves.bank.updates) == 10


def test_a_code_that_a_large_step_misses_is_dead_and_one_that_a_small_step_misses_is_not() -> None:
    for rows, replaced in ((2048, True), (512, False)):
        quantizer = started()
        quantizer.bank.codebooks[0, 5] = 1e3
        step(quantizer, clustered(rows, 7))
        assert (float(quantizer.codebooks[0, 5].max()) < 10) == replaced


def test_nothing_moves_before_the_update_or_without_a_forward() -> None:
    quantizer = started()
    before, usage = quantizer.codebooks.clone(), quantizer.bank.usage.clone()
    quantizer(clustered(512, 1))
    assert torch.equal(quantizer.codebooks, before)
    quantizer.discard()
    quantizer.update()
    assert torch.equal(quantizer.codebooks, before) and torch.equal(quantizer.bank.usage, usage)


def test_levels_start_one_per_update_from_true_residuals() -> None:
    levels, quantizer = 3, ResidualVQ(DIM, 3, SIZE).train()
    noise = quantizer.codebooks.clone()
    for count in range(1, levels + 1):
        latents = clustered(256, count, spread=0.3)  # as many as the pool holds: it is the batch
        rest = latents[0].T
        for codebook in quantizer.codebooks[: count - 1]:
            rest = rest - codebook[nearest(rest, codebook)]
        step(quantizer, latents)
        assert quantizer.bank.initialised == int(quantizer.bank.initialised_levels) == count
        assert torch.equal(quantizer.codebooks[count:], noise[count:])
        # a fixed point of Lloyd's algorithm on those residuals, and on nothing else
        codebook, hits = quantizer.codebooks[count - 1], torch.zeros(SIZE)
        codes = nearest(rest, codebook)
        hits.index_add_(0, codes, torch.ones(len(rest)))
        means = torch.zeros_like(codebook).index_add_(0, codes, rest) / hits[:, None]
        torch.testing.assert_close(codebook, means, rtol=1e-5, atol=1e-5)
        assert torch.equal(quantizer.bank.usage[count - 1], hits)
    assert quantizer.bank.complete


def test_fewer_levels_in_a_step_do_not_mislead_the_next_level() -> None:
    every, first = ResidualVQ(DIM, 3, SIZE, decay=1.0).train(), ResidualVQ(DIM, 3, SIZE, decay=1.0).train()
    for seed in range(3):
        latents = clustered(1024, seed)
        every(latents)
        first(latents, 1)
        every.update()
        first.update()
    # with decay 1 codes do not move, so that only the residuals of the levels before could differ
    assert torch.equal(every.codebooks, first.codebooks)


def test_kmeans_finds_clusters_and_leaves_out_empty_places() -> None:
    vectors = clustered(2048, 0, spread=0.05)[0].T
    weights = (torch.arange(2048) % 4 != 3).float()
    vectors = torch.where(weights[:, None] > 0, vectors, 50.0)
    centroids, sizes = kmeans(vectors, weights, SIZE, 50, torch.zeros((), dtype=torch.int64))
    assert float(sizes.sum()) == float(weights.sum()) and float(centroids.abs().max()) < 10
    present = vectors[weights > 0]
    lost = (present - centroids[nearest(present, centroids)]).square().sum(-1).mean()
    assert float(lost) < 0.25 * float(present.var(0).sum())


def test_fewer_vectors_than_codes_fill_up_later() -> None:
    quantizer = ResidualVQ(DIM, 1, SIZE).train()
    step(quantizer, clustered(10, 0))
    assert quantizer.bank.complete and bool(quantizer.codebooks.isfinite().all())
    assert int((quantizer.bank.usage > 0).sum()) == 10
    for seed in range(1, 21):
        step(quantizer, clustered(2048, seed))
    assert in_use(quantizer, 999) == [SIZE]


def test_replace_takes_distinct_candidates_of_positive_error_only() -> None:
    vectors, candidates = torch.zeros(1, 6, 2), torch.arange(10.0).view(1, 5, 2) + 1
    dead = torch.tensor([[True, False, True, True, True, False]])
    errors = torch.tensor([[1.0, 0.0, 2.0, 0.0, 3.0]])
    after, replaced = replace(vectors, dead, candidates, errors, torch.rand(1, 5))
    assert replaced.tolist() == [[True, False, True, True, False, False]]
    assert torch.equal(after[0][replaced[0]].sort(0).values, candidates[0, [0, 2, 4]])
    assert torch.equal(after[~replaced], vectors[~replaced])


def test_weighted_order_follows_the_weights() -> None:
    counter = torch.zeros((), dtype=torch.int64)
    weights = torch.tensor([1.0, 2.0, 0.0, 5.0]).expand(20_000, 4)
    order = weighted_order(weights, uniform(80_000, counter).view(20_000, 4))
    first = torch.bincount(order[:, 0], minlength=4) / 20_000
    torch.testing.assert_close(first, torch.tensor([1 / 8, 2 / 8, 0, 5 / 8]), rtol=0, atol=0.02)
    assert bool((order[:, 3] == 2).all())


def test_draws_are_even_and_differ_with_the_counter() -> None:
    counters = [torch.tensor(n) for n in range(3)]
    draws = [uniform(10_000, counter) for counter in counters]
    for values in draws:
        assert float(values.min()) > 0 and float(values.max()) < 1
        torch.testing.assert_close(torch.histc(values, 10, 0, 1) / 1000, torch.ones(10), rtol=0, atol=0.15)
    correlation = torch.corrcoef(torch.stack(draws)) - torch.eye(3)
    assert float(correlation.abs().max()) < 0.05
    assert torch.equal(uniform(10_000, counters[1]), draws[1])


@pytest.mark.parametrize("rows", [3, 16, 24, 100])
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_share_slots_as_one_process_would_fill_them(rows: int, world: int) -> None:
    slots, counters = 64, (torch.tensor(3), torch.tensor(1))
    whole = dict(zip(*(t.tolist() for t in strata(rows * world, slots, 0, 1, *counters)), strict=True))
    shared: dict[int, int] = {}
    for rank in range(world):
        places, chosen = (t.tolist() for t in strata(rows, slots, rank, world, *counters))
        assert len(set(places)) == len(set(chosen)) == len(places) == min(rows, slots // world)
        assert not shared.keys() & set(places)
        shared |= {place: row + rank * rows for place, row in zip(places, chosen, strict=True)}
    assert shared == whole


def test_noise_before_the_start_is_normal_and_reproducible() -> None:
    one, other = (CodebookBank(2, 1024, 16, 0.99, 0.1, 10).codebooks for _ in range(2))
    assert torch.equal(one, other)
    assert abs(float(one.var()) * 16 - 1) < 0.05 and abs(float(one.mean())) < 0.01
    assert not torch.equal(one[0], one[1])
