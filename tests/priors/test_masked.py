"""Masked priors: groups see only what is before them, both sides agree bit for bit, known positions are not sent."""

import math

import pytest
import torch
from torch import Tensor

from neuralcodecs.errors import CodecError
from neuralcodecs.learned_coders import coder_of
from neuralcodecs.lm.orders import Masked, Raster, Wavefront
from neuralcodecs.masked_coder import MaskedCoder
from neuralcodecs.priors.grid import Schedule, times_of
from neuralcodecs.priors.integer_masked import IntegerMasked
from neuralcodecs.priors.masked import MaskedTransformer, outside_box

ALPHABET = (30, 17)
GRID = (6, 9)
SCHEDULES: dict[str, Schedule] = {"masked": Masked(5), "wavefront": Wavefront(3), "raster": Raster()}


def model_of(schedule: Schedule, conditions: tuple[int, ...] = (), axes: int = 2) -> MaskedTransformer:
    torch.manual_seed(0)
    model = MaskedTransformer(ALPHABET, schedule, axes, 32, 2, 2, 3, conditions)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():  # as uneven as after training
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += 0.2 * noise * noise.abs()
    return model.eval()


def codes_of(batch: int = 2, grid: tuple[int, ...] = GRID) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.stack([torch.randint(0, size, (batch, *grid), generator=generator) for size in ALPHABET], 1)


def stepped(prior: IntegerMasked, codes: Tensor, cond: Tensor | None, known: Tensor | None) -> Tensor:
    """Tables of all positions as a decoder finds them; those of known ones stay 0."""
    flat = codes.flatten(2)
    hidden = codes.clone()  # a decoder has no other codes than the known ones
    hidden.flatten(2)[..., torch.ones(flat.shape[2], dtype=torch.bool) if known is None else ~known] = 0
    state = prior.start(hidden, cond, known)
    found = torch.zeros(len(codes), flat.shape[2], codes.shape[1], max(ALPHABET) + 1, dtype=torch.int64)
    while state.number < len(state.groups):
        group = state.group
        found[:, group] = prior.tables(state)
        prior.tell(state, flat[..., group])
    return found


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("inpainting", [False, True])
def test_both_sides_give_the_same_tables(name: str, inpainting: bool) -> None:
    prior = model_of(SCHEDULES[name], (4,)).export()
    codes = codes_of()
    cond = torch.randint(0, 4, (2, 1, *GRID))
    known = outside_box(GRID) if inpainting else None
    for levels in (1, 2):
        tables = prior.teacher_forced(codes[:, :levels], cond, known)
        there = slice(None) if known is None else ~known
        assert torch.equal(stepped(prior, codes[:, :levels], cond, known)[:, there], tables[:, there])
    assert not torch.equal(prior.teacher_forced(codes, cond.flip(-1)), prior.teacher_forced(codes, cond))


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_tables_depend_on_earlier_times_only_and_on_all_of_them(name: str) -> None:
    prior = model_of(SCHEDULES[name]).export()
    codes = codes_of(1)
    times = times_of(SCHEDULES[name], GRID, None)
    position = 4 * GRID[1] + 2
    other = codes.clone()
    other.flatten(2)[0, :, position] = (other.flatten(2)[0, :, position] + 1) % 17
    changed = (prior.teacher_forced(other) != prior.teacher_forced(codes)).flatten(2).any(-1)[0]
    assert torch.equal(changed, times > times[position])


def test_known_positions_tell_those_that_are_sent_whatever_the_schedule_says() -> None:
    prior = model_of(Raster()).export()
    codes, known = codes_of(1), torch.zeros(math.prod(GRID), dtype=torch.bool)
    known[-1] = True
    other = codes.clone()
    other[..., -1, -1] = (other[..., -1, -1] + 1) % 17
    changed = (prior.teacher_forced(other, None, known) != prior.teacher_forced(codes, None, known)).flatten(2).any(-1)
    assert changed[0, :-1].all()


@pytest.mark.parametrize("threads", [1, 2])
def test_integers_are_exact_whatever_computes_them(threads: int) -> None:
    prior = model_of(Masked(5)).export()
    codes = codes_of(4)
    tables = prior.teacher_forced(codes)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(prior.teacher_forced(codes[2:3]), tables[2:3])
        with torch.backends.mkldnn.flags(enabled=False), torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(prior.teacher_forced(codes), tables)
        assert torch.equal(prior.double().teacher_forced(codes), tables)
        assert torch.equal(stepped(prior, codes[:1], None, None), tables[:1])
    finally:
        torch.set_num_threads(before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_masked_on_cuda() -> None:
    prior = model_of(Wavefront(3)).export()
    codes = codes_of()
    tables = prior.teacher_forced(codes)
    assert torch.equal(prior.cuda().teacher_forced(codes.cuda()).cpu(), tables)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_payloads_round_trip_and_known_positions_cost_nothing(name: str) -> None:
    model = model_of(SCHEDULES[name])
    coder = MaskedCoder(model.export())
    codes = codes_of(1)[0]
    data = coder.encode(codes)
    assert torch.equal(coder.decode(data, 2, GRID), codes)
    known = outside_box(GRID).view(GRID)
    given = codes.masked_fill(~known, 0)
    part = coder.encode(codes, known=known)
    assert torch.equal(coder.decode(part, 2, GRID, known=known, codes=given), codes)
    sent = int((~known).sum()) / known.numel()
    assert len(part) < (sent + 0.15) * len(data)
    assert 8 * len(data) == pytest.approx(coder.prior.ideal_bits(codes[None]), rel=0.01, abs=48)
    for damaged in (data[:-4], data + b"\0\0\0\0", b""):
        with pytest.raises(CodecError):
            coder.decode(damaged, 2, GRID)


def test_large_grids_are_cut_and_a_stream_coder_says_the_same() -> None:
    prior = model_of(Wavefront(2)).export()
    codes = codes_of(1, (50, 60))[0]
    data = MaskedCoder(prior).encode(codes)
    coder = coder_of(prior, ALPHABET)
    assert torch.equal(coder.decode(data, 2, (50, 60), {}), codes)
    parts = [prior.ideal_bits(part[None]) for part in codes.split(34, 1)]
    assert coder.bits(codes, {}) == pytest.approx(sum(parts)) == pytest.approx(8 * len(data), rel=0.001)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_export_costs_little_on_any_number_of_axes(axes: int) -> None:
    grid = {1: (40,), 2: (5, 8), 3: (2, 4, 5)}[axes]
    torch.manual_seed(0)
    model = MaskedTransformer(ALPHABET, Masked(4), axes, 32, 2, 2, 3).eval()
    codes = codes_of(4, grid)
    assert abs(model.export_checked(codes).loss) < 1e-3
    assert abs(float(model.bits(codes)) * codes.numel() / model.export().ideal_bits(codes) - 1) < 1e-3


def test_every_parameter_of_a_masked_prior_learns() -> None:
    model = model_of(Wavefront(2), (4,)).train()
    for _ in range(4):  # with and without known positions
        model.bits(codes_of(), torch.randint(0, 4, (2, 1, *GRID))).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name


def test_what_a_masked_prior_does_not_fit_is_refused() -> None:
    prior = model_of(Masked(3)).export()
    codes = codes_of(1)
    for wrong, known in ((codes + 20, None), (codes[..., 0], None), (codes, torch.zeros(3, dtype=torch.bool))):
        with pytest.raises(CodecError):
            prior.teacher_forced(wrong, None, known)
    with pytest.raises(CodecError, match="conditions"):
        prior.teacher_forced(codes, codes)
    with pytest.raises(CodecError, match="grid of 40000"):
        prior.teacher_forced(torch.zeros(1, 2, 200, 200, dtype=torch.int64))
    with pytest.raises(CodecError, match="axes"):
        MaskedTransformer(ALPHABET, Masked(3), 4)
