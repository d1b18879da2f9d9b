"""Codes of files decoded under every setting that changes float results: how many differ. They must be 0.

python benchmarks/portability.py [--files 1000] [--decoded 50] [--carry FILE | --check FILE]

For a prior of audio codes (75 a second, 4 codebooks of 1024, all at once) and one of image codes (16 x 16 grid, one
codebook of 2**14 in two digits, factorised), each of random integers as uneven as long training makes them: all files
are encoded once on the CPU, one thread, lane by lane; ``--files`` are encoded again under each setting, which must give
the same bytes, and the first ``--decoded`` of each setting's are decoded under it. ``--carry`` writes the priors and
the payloads; ``--check`` reads them on another machine and decodes there what was encoded here.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from neuralcodecs.prior_coders import LearnedPriorCoder
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer, TokenTransformer
from neuralcodecs.priors.integer import IntegerPrior

FRAMES, GRID = 300, (16, 16)


class Case(NamedTuple):
    """``codes``: of each file."""

    name: str
    coder: LearnedPriorCoder
    codes: list[Tensor]


def cases(files: int, seed: int) -> list[Case]:
    torch.manual_seed(seed)
    audio = ParallelTransformer((1024,) * 4, 128, 4, 3, 262)
    image = FactorisedTransformer((128, 128), 128, 4, 3, 256)
    levels = 1 + torch.arange(files) % 4
    return [
        Case(
            "audio",
            LearnedPriorCoder(rough(audio), (1024,) * 4),
            [torch.randint(1024, (int(q), 20 + 40 * (i % 8))) for i, q in enumerate(levels)],
        ),
        Case("image", LearnedPriorCoder(rough(image), (2**14,)), [torch.randint(2**14, (1, *GRID)) for _ in levels]),
    ]


def rough(model: TokenTransformer) -> IntegerPrior[Any]:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += 0.1 * noise * noise.abs()
    return model.export()


Digests = Callable[[LearnedPriorCoder, list[Tensor]], list[str]]


def alone(coder: LearnedPriorCoder, files: list[Tensor]) -> list[str]:
    """SHA-256 of the tables of each file."""
    rows = [coder.rows(codes)[None].to(coder.prior.device) for codes in files]
    return [digest(coder.prior.teacher_forced(row)) for row in rows]


def together(coder: LearnedPriorCoder, files: list[Tensor]) -> list[str]:
    """The same, 64 files of one shape as one batch, laid out channels last."""
    found = {}
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, codes in enumerate(files):
        groups.setdefault(tuple(codes.shape), []).append(index)
    for members in groups.values():
        for first in range(0, len(members), 64):
            part = members[first : first + 64]
            rows = torch.stack([coder.rows(files[i]) for i in part]).to(coder.prior.device)
            rows = rows.transpose(1, 2).contiguous().transpose(1, 2)
            found |= zip(part, map(digest, coder.prior.teacher_forced(rows)), strict=True)
    return [found[index] for index in range(len(files))]


def digest(tables: Tensor) -> str:
    return hashlib.sha256(tables.cpu().contiguous().numpy().tobytes()).hexdigest()


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@contextmanager
def default_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@contextmanager
def tf32() -> Iterator[None]:
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision("highest")


@contextmanager
def moved(prior: torch.nn.Module, device: str, dtype: torch.dtype) -> Iterator[None]:
    prior.to(device, dtype)
    yield
    prior.to("cpu", torch.float32)


@contextmanager
def compiled(prior: Any) -> Iterator[None]:
    plain = prior._all
    prior._all = torch.compile(plain, dynamic=True)
    yield
    prior._all = plain


def settings(prior: torch.nn.Module) -> dict[str, tuple[AbstractContextManager[None], Digests]]:
    found: dict[str, tuple[AbstractContextManager[None], Digests]] = {
        "2 threads": (threads(2), alone),
        "4 threads": (threads(4), alone),
        "batch of 64, channels last": (threads(1), together),
        "oneDNN off": (torch.backends.mkldnn.flags(enabled=False), alone),
        "default float64": (default_float64(), alone),
        "integers in float64": (moved(prior, "cpu", torch.float64), alone),
        "medium precision, bfloat16 allowed": (tf32(), together),
    }
    if torch.cuda.is_available():
        found["CUDA"] = (moved(prior, "cuda", torch.float32), together)
        found["CUDA, one by one"] = (moved(prior, "cuda", torch.float32), alone)
        found["CUDA, TF32 allowed"] = (both(moved(prior, "cuda", torch.float32), tf32()), together)
        found["CUDA, float64"] = (moved(prior, "cuda", torch.float64), together)
    return found


@contextmanager
def both(first: AbstractContextManager[None], second: AbstractContextManager[None]) -> Iterator[None]:
    with first, second:
        yield


def compare(case: Case, expected: list[str], payloads: list[bytes], decoded: int, compiling: bool) -> int:
    """Prints a line for each setting; returns how many files differ."""
    wrong = 0
    for name, (setting, digests) in settings(case.coder.prior).items():
        with setting:
            found = digests(case.coder, case.codes)
            read = decoded_wrongly(case, payloads[:decoded])
        wrong += told(case, name, sum(a != b for a, b in zip(found, expected, strict=True)), len(found), read, decoded)
    if compiling:
        with compiled(case.coder.prior):
            found = together(case.coder, case.codes)
        other = sum(a != b for a, b in zip(found, expected, strict=True))
        wrong += told(case, "torch.compile", other, len(found), 0, 0)
    return wrong


def decoded_wrongly(case: Case, payloads: list[bytes]) -> int:
    pairs = zip(payloads, case.codes, strict=False)
    return sum(not torch.equal(case.coder.decode(data, len(c), tuple(c.shape[1:]), {}), c) for data, c in pairs)


def told(case: Case, name: str, tables: int, files: int, read: int, decoded: int) -> int:
    line = f"{tables} of {files} files have other tables, {read} of {decoded} decode wrongly"
    print(f"{case.name}, {name}: {line}", flush=True)
    return tables + read


def carry(cases: list[Case], payloads: list[list[bytes]], path: Path) -> None:
    tensors = {}
    for case, data in zip(cases, payloads, strict=True):
        tensors |= {f"{case.name}.{k}": v for k, v in case.coder.state_dict().items()}
        tensors |= {f"{case.name}/{i}": torch.frombuffer(bytearray(d), dtype=torch.uint8) for i, d in enumerate(data)}
    save_file(tensors, path)


def check(cases: list[Case], path: Path, device: str) -> int:
    """Decode what another process or machine has encoded; the priors are those of the file."""
    tensors, wrong = load_file(path), 0
    for case in cases:
        own = {k.removeprefix(f"{case.name}."): v for k, v in tensors.items() if k.startswith(f"{case.name}.")}
        case.coder.load_state_dict(own)
        case.coder.to(device)
        count = sum(k.startswith(f"{case.name}/") for k in tensors)
        payloads = [tensors[f"{case.name}/{i}"].numpy().tobytes() for i in range(count)]
        read = decoded_wrongly(case, payloads)
        print(f"{case.name}, another process, {device}: {read} of {count} decode wrongly", flush=True)
        wrong += read
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--decoded", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="other files and weights: shards of a long run")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--carry", type=Path)
    parser.add_argument("--check", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    made = cases(options.files, options.seed)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    if options.check:
        return sum(check(made, options.check, device) for device in devices)
    payloads = [[case.coder.encode(codes, {}) for codes in case.codes] for case in made]
    if options.carry:
        carry(made, payloads, options.carry)
        return 0
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "carried.safetensors"
        carry(made, [data[: options.decoded] for data in payloads], path)
        again = [sys.executable, __file__, "--files", str(options.files), "--check", str(path)]
        older = {"DNNL_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE"}
        wrong += subprocess.run(again, env=os.environ | older).returncode
    for case, data in zip(made, payloads, strict=True):
        wrong += compare(case, alone(case.coder, case.codes), data, options.decoded, options.compile)
    print(f"{wrong} mismatches")
    return min(wrong, 100)


if __name__ == "__main__":
    sys.exit(main())
