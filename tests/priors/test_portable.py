"""Learned priors give the same integer tables whatever computes them: the property that files decode by."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from safetensors.torch import save_file
from stepped import stepped
from torch import Tensor

from neuralcodecs.errors import CodecError
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer, TokenTransformer
from neuralcodecs.priors.integer import BLOCK, IntegerPrior
from neuralcodecs.priors.integer_autoregressive import IntegerFactorised, IntegerParallel
from neuralcodecs.priors.prior import ends_of

ALPHABET = (256, 100, 256)
DIM, HEADS, LAYERS, WINDOW = 128, 4, 3, 40
POSITIONS = BLOCK + 50


def rough(model: TokenTransformer) -> IntegerPrior:
    """With weights as uneven as after a long training: outliers, sharp attention, sums near their limits."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += 0.1 * noise * noise.abs()
    return model.export()


@pytest.fixture(scope="module", params=["parallel", "factorised"])
def prior(request: pytest.FixtureRequest) -> IntegerPrior:
    torch.manual_seed(0)
    kind = {"parallel": ParallelTransformer, "factorised": FactorisedTransformer}[request.param]
    return rough(kind(ALPHABET, DIM, HEADS, LAYERS, WINDOW))


@pytest.fixture(scope="module")
def codes() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.stack([torch.randint(0, size, (4, POSITIONS), generator=generator) for size in ALPHABET], 1)


@pytest.fixture(scope="module")
def tables(prior: IntegerPrior, codes: Tensor) -> Tensor:
    with threads(1):
        return prior.teacher_forced(codes)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_intervals_are_those_of_the_tables(prior: IntegerPrior, codes: Tensor, tables: Tensor) -> None:
    """Of the first and the last symbol of each alphabet, too: they are computed without the tables."""
    for levels in (1, 3):
        for chosen in (codes, codes * 0, codes * 0 + torch.tensor(ALPHABET).view(3, 1) - 1):
            few = chosen[:1, :levels, :60]
            expected = ends_of(prior.teacher_forced(few), few)
            assert all(map(torch.equal, prior.intervals(few), expected))
    assert all(map(torch.equal, prior.intervals(codes), ends_of(tables, codes)))


def test_tables_tell_codes_apart_and_depend_on_the_past_only(
    prior: IntegerPrior, codes: Tensor, tables: Tensor
) -> None:
    """Or else everything below would hold for tables that say nothing."""
    other = codes.clone()
    other[:, :, 60:] = (other[:, :, 60:] + 1) % 100
    changed = (prior.teacher_forced(other) != tables).flatten(2).any(-1).any(0)
    assert not changed[:60].any()
    assert changed[61 : 60 + WINDOW].all()
    assert tables.diff(dim=-1).amax() > 2**20
    assert not torch.equal(tables[:, 10], tables[:, 11])


@pytest.mark.parametrize("count", [2, 4])
def test_threads(prior: IntegerPrior, codes: Tensor, tables: Tensor, count: int) -> None:
    with threads(count):
        assert torch.equal(prior.teacher_forced(codes), tables)


def test_batch_of_one_permuted_and_split_lanes(prior: IntegerPrior, codes: Tensor, tables: Tensor) -> None:
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(prior.teacher_forced(codes[order]), tables[order])
    for part, expected in zip(codes.split([1, 3]), tables.split([1, 3]), strict=True):
        assert torch.equal(prior.teacher_forced(part), expected)
    many = codes.repeat(16, 1, 1)
    assert torch.equal(prior.teacher_forced(many[..., :20]), tables[:, :20].repeat(16, 1, 1, 1))


def test_step_by_step_with_the_cache(prior: IntegerPrior, codes: Tensor, tables: Tensor) -> None:
    reach = 2 * WINDOW + 5  # so that the cache drops what no position can see any more
    assert torch.equal(stepped(prior, codes[..., :reach]), tables[:, :reach])
    with threads(2):
        assert torch.equal(stepped(prior, codes[2:3, :, :20]), tables[2:3, :20])


def test_lanes_may_end(prior: IntegerPrior, codes: Tensor, tables: Tensor) -> None:
    group = prior.parallel(3)
    sequence, expected = codes.transpose(1, 2).flatten(1), tables.flatten(1, 2)
    _, state = prior.start(4, 3)
    for first in range(0, 30, group):
        lanes = 4 if first < 15 else 2
        found, state = prior.step(state, sequence[:lanes, first : first + group])
        assert torch.equal(found, expected[:lanes, first + group : first + 2 * group])


def test_prefixes_and_levels(prior: IntegerPrior, codes: Tensor, tables: Tensor) -> None:
    assert torch.equal(prior.teacher_forced(codes[..., :7]), tables[:, :7])
    for levels in (1, 2):
        fewer = codes[:, :levels, :50]
        assert torch.equal(stepped(prior, fewer), prior.teacher_forced(fewer))


@pytest.mark.parametrize("kind", [ParallelTransformer, FactorisedTransformer])
def test_conditions_tell_and_both_sides_agree(kind: type[TokenTransformer], codes: Tensor) -> None:
    prior = rough(kind(ALPHABET, 32, 2, 2, 10, conditions=(5, 9)))
    cond = torch.stack([torch.randint(0, size, (4, POSITIONS)) for size in (5, 9)], 1)
    tables = prior.teacher_forced(codes, cond)
    assert torch.equal(stepped(prior, codes[..., :30], cond), tables[:, :30])
    other = cond.clone()
    other[:, 1, 20:] = (other[:, 1, 20:] + 1) % 9
    changed = (prior.teacher_forced(codes, other) != tables).flatten(2).any(-1).any(0)
    assert not changed[:20].any() and changed[20:].all()
    for wrong in (None, cond[:, :1], cond[..., :5], cond + 5):
        with pytest.raises(CodecError, match="condition"):
            prior.teacher_forced(codes, wrong)


def test_onednn_off(prior: IntegerPrior, codes: Tensor, tables: Tensor) -> None:
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(prior.teacher_forced(codes), tables)


def test_float64(prior: IntegerPrior, codes: Tensor, tables: Tensor) -> None:
    try:
        assert torch.equal(prior.double().teacher_forced(codes), tables)
        assert torch.equal(stepped(prior, codes[:1, :, :50]), tables[:1, :50])
    finally:
        prior.float()


def test_autocast_and_reduced_precision_are_switched_off(prior: IntegerPrior, codes: Tensor, tables: Tensor) -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(prior.teacher_forced(codes), tables)
            assert torch.equal(stepped(prior, codes[:1, :, :50]), tables[:1, :50])
    finally:
        torch.set_float32_matmul_precision("highest")


def test_a_second_process_with_other_threads(
    prior: IntegerPrior, codes: Tensor, tables: Tensor, tmp_path: Path
) -> None:
    """Made again from its description and its integers; older instructions, another BLAS path, two threads."""
    older = {"DNNL_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE"}
    found = elsewhere(prior, codes, tmp_path, "prior.teacher_forced(codes)", older)
    assert found == hashlib.sha256(tables.numpy().tobytes()).hexdigest()


@pytest.mark.slow
def test_compiled(prior: IntegerPrior, codes: Tensor, tables: Tensor, tmp_path: Path) -> None:
    """In a process of its own: torch's compiler does not trace the shape checks of the tests."""
    compiled = "torch.compile(prior._all)(codes, codes[:, :0])"
    found = elsewhere(prior, codes[..., :30], tmp_path, compiled, {})
    assert found == hashlib.sha256(tables[:, :30].contiguous().numpy().tobytes()).hexdigest()


def elsewhere(prior: IntegerPrior, codes: Tensor, folder: Path, what: str, variables: dict[str, str]) -> str:
    """SHA-256 of the tables that another process computes by the expression ``what``."""
    save_file(prior.state_dict() | {"codes": codes.contiguous()}, folder / "prior.safetensors")
    code = f"""if True:
        import hashlib, sys, torch
        from safetensors.torch import load_file
        from neuralcodecs.layers.exact import exact
        from neuralcodecs.priors.integer_autoregressive import {type(prior).__name__} as Kind
        torch.set_num_threads(2)
        state = load_file(sys.argv[1])
        codes = state.pop("codes")
        prior = Kind(**{prior.describe()["init_args"]})
        prior.load_state_dict(state)
        with exact():
            print(hashlib.sha256({what}.numpy().tobytes()).hexdigest())
        """
    output = subprocess.run(
        [sys.executable, "-c", code, folder / "prior.safetensors"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "codecs",
        env=os.environ | variables,
    )
    return output.stdout.strip()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tf32", [False, True])
def test_cuda(prior: IntegerPrior, codes: Tensor, tables: Tensor, dtype: torch.dtype, tf32: bool) -> None:
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        prior.to("cuda", dtype)
        assert torch.equal(prior.teacher_forced(codes.cuda()).cpu(), tables)
        assert torch.equal(stepped(prior, codes.cuda()).cpu(), tables)
        many = codes.repeat(16, 1, 1).cuda()
        assert torch.equal(prior.teacher_forced(many).cpu(), tables.repeat(16, 1, 1, 1))
        with torch.autocast("cuda", torch.bfloat16):
            assert torch.equal(prior.teacher_forced(codes.cuda()).cpu(), tables)
    finally:
        torch.set_float32_matmul_precision("highest")
        prior.to("cpu", torch.float32)


def test_another_model_or_arithmetic_is_refused(prior: IntegerPrior, codes: Tensor) -> None:
    state = {name: value.clone() for name, value in prior.state_dict().items()}
    assert len(prior.fingerprint) == 8
    kind = {True: IntegerFactorised, False: IntegerParallel}["told.vectors" in state]
    fresh = kind(ALPHABET, DIM, HEADS, LAYERS, WINDOW)
    with pytest.raises(CodecError, match="other probabilities"):
        fresh.teacher_forced(codes)
    fresh.load_state_dict(state)
    assert fresh.fingerprint == prior.fingerprint
    fresh.start(1, 3)
    state["time.blocks.1.out.weight"][5] += 1
    fresh.load_state_dict(state)
    assert fresh.fingerprint != prior.fingerprint
    with pytest.raises(CodecError, match="other probabilities"):
        fresh.start(1, 3)
    with pytest.raises(CodecError, match="other probabilities"):
        kind(ALPHABET, DIM, HEADS, LAYERS, WINDOW).bfloat16().start(1, 3)
