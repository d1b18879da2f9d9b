"""Codes of files under every setting that changes float results: how many are coded or decoded otherwise. None may be.

python benchmarks/portability.py [--files 1000] [--decoded 50] [--cases ...] [--compile] [--carry FILE | --check FILE]

Cases, each of random integers as uneven as long training makes them: ``audio``, a prior of audio codes (75 a second, 4
codebooks of 1024, all at once); ``image``, of picture codes (16 x 16 grid, one codebook of 2**14 in two digits,
factorised); ``masked``, of the same grid in the groups of a schedule; ``hyperprior``, latents and their side stream.
All are computed once on the CPU, one thread, file by file. Under each setting the probabilities of all must be the
same; the first ``--decoded`` are encoded there, to the same bytes, and decoded there. ``--carry`` writes the priors and
the payloads; ``--check`` reads them on another machine and decodes there what was encoded here.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from neuralcodecs.lm.orders import Masked
from neuralcodecs.masked_coder import MaskedPriorCoder
from neuralcodecs.prior_coders import LearnedPriorCoder
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer
from neuralcodecs.priors.masked import MaskedTransformer
from neuralcodecs.quantizers.conditional import SYMBOLS
from neuralcodecs.quantizers.contexts import Checkerboard, Slices
from neuralcodecs.quantizers.hyperprior import HALF, Hyper, Hyperprior
from neuralcodecs.stream_coder import StreamCoder

GRID = (16, 16)


class Case(ABC):
    """Files of one kind. ``codes``: of each; ``given``: its side streams; ``coder``: whose device and type change."""

    def __init__(self, name: str, coder: StreamCoder, codes: list[Tensor], given: list[dict[str, Tensor]]) -> None:
        self.name, self.coder, self.codes, self.given = name, coder, codes, given

    @abstractmethod
    def probabilities(self, indices: list[int]) -> Tensor:
        """Of files of one shape, the first axis being the files."""

    @abstractmethod
    def compiled(self) -> AbstractContextManager[None]: ...

    def encode(self, index: int) -> bytes:
        return self.coder.encode(self.codes[index], self.given[index])

    def wrong(self, index: int, data: bytes) -> bool:
        codes = self.codes[index]
        read = self.coder.decode(data, len(codes), tuple(codes.shape[1:]), self.given[index])
        return not torch.equal(read, codes)


class Autoregressive(Case):
    coder: LearnedPriorCoder

    def probabilities(self, indices: list[int]) -> Tensor:
        rows = torch.stack([self.coder.rows(self.codes[i]) for i in indices]).to(self.coder.prior.device)
        return self.coder.prior.teacher_forced(rows.transpose(1, 2).contiguous().transpose(1, 2))  # channels last

    def compiled(self) -> AbstractContextManager[None]:
        return compiling(self.coder.prior, "_all")


class Grid(Case):
    coder: MaskedPriorCoder

    def probabilities(self, indices: list[int]) -> Tensor:
        codes = torch.stack([self.codes[i] for i in indices]).to(self.coder.prior.device)
        return self.coder.prior.teacher_forced(codes.contiguous(memory_format=torch.channels_last))

    def compiled(self) -> AbstractContextManager[None]:
        return compiling(self.coder.prior, "_layer")


class Latents(Case):
    """``coder``: of the latents, given ``z``."""

    def probabilities(self, indices: list[int]) -> Tensor:
        device = self.coder.quantizer.conditional.tables.device
        codes, z = (torch.stack(values).to(device) for values in zip(*map(self._streams, indices), strict=True))
        found = []

        def visit(part: Any, means: Tensor, index: Tensor) -> Tensor:
            found.extend((means.double() * part.mask, index.double() * part.mask))
            return (codes[:, part.first : part.last] - HALF + means) * part.mask

        self.coder.quantizer.context_of(codes.contiguous(memory_format=torch.channels_last), z, visit)
        return torch.cat(found, 1)

    def compiled(self) -> AbstractContextManager[None]:
        """The networks one by one: what is between them is the caller's, and another one each time."""
        context = self.coder.quantizer.context
        parts = [(network, "forward") for network in (*context.expectations, *context.residuals)]
        return all_compiling([(self.coder.quantizer.hyper, "back"), *parts])

    def _streams(self, index: int) -> tuple[Tensor, Tensor]:
        return self.codes[index], self.given[index]["z"]


def cases(files: int, seed: int, names: list[str], alike: bool) -> list[Case]:
    """``alike``: all of one shape, for a compiler that would begin again at each."""
    torch.manual_seed(seed)
    sizes = [7 if alike else index for index in range(files)]
    none: list[dict[str, Tensor]] = [{}] * files
    squares = [torch.randint(2**14, (1, *GRID)) for _ in range(files)]
    speech = [torch.randint(1024, (1 + i % 4, 20 + 40 * (i % 8))) for i in sizes]
    small = [torch.randint(256, (1, 4 + i % 9, 5 + i % 12)) for i in sizes]
    made: dict[str, Callable[[], Case]] = {
        "audio": lambda: Autoregressive(
            "audio",
            LearnedPriorCoder(rough(ParallelTransformer((1024,) * 4, 128, 4, 3, 262)).export(), (1024,) * 4),
            speech,
            none,
        ),
        "image": lambda: Autoregressive(
            "image",
            LearnedPriorCoder(rough(FactorisedTransformer((128, 128), 128, 4, 3, 256)).export(), (2**14,)),
            squares,
            none,
        ),
        "masked": lambda: Grid(
            "masked", MaskedPriorCoder(rough(MaskedTransformer((256,), Masked(8), 2, 128, 4, 3)).export()), small, none
        ),
        "hyperprior": lambda: latents(sizes),
    }
    return [made[name]() for name in names]


def latents(sizes: list[int]) -> Case:
    """Codes around zero and far from it; all values of the side stream."""
    hyper = partial(Hyper, hidden=32, channels=16, features=32)
    context = partial(Slices, shares=(1, 1, 2), passes=Checkerboard(), hidden=48)
    quantizer = rough(Hyperprior(64, hyper, context)).eval()
    coder = quantizer.coders()["codes"]
    codes, given = [], []
    for index in sizes:
        grid = 4 + index % 5, 4 + index % 7
        spread = 10 ** (2 * torch.rand(64, 1, 1))
        codes.append((torch.randn(64, *grid) * spread).round().long().clamp(-HALF, HALF - 1) % SYMBOLS)
        given.append({"z": torch.randint(64, (16, *(-(-n // 4) for n in grid)))})
    return Latents("hyperprior", coder, codes, given)


def rough(model: nn.Module) -> Any:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += 0.1 * noise * noise.abs()
    return model


def digests(case: Case, together: int) -> list[str]:
    """SHA-256 of the probabilities of each file, computed for at most so many files of one shape at once."""
    found = {}
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, codes in enumerate(case.codes):
        groups.setdefault(tuple(codes.shape), []).append(index)
    for members in groups.values():
        for first in range(0, len(members), together):
            part = members[first : first + together]
            found |= zip(part, map(digest, case.probabilities(part)), strict=True)
    return [found[index] for index in range(len(case.codes))]


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
def moved(coder: nn.Module, device: str, dtype: torch.dtype) -> Iterator[None]:
    coder.to(device, dtype)
    yield
    coder.to("cpu", torch.float32)


@contextmanager
def compiling(part: nn.Module, name: str) -> Iterator[None]:
    plain = getattr(part, name)
    torch._dynamo.config.recompile_limit = 64  # beyond it, functions run as they are
    object.__setattr__(part, name, torch.compile(plain, dynamic=False))
    yield
    object.__setattr__(part, name, plain)


@contextmanager
def all_compiling(parts: list[tuple[nn.Module, str]]) -> Iterator[None]:
    with ExitStack() as stack:
        for part, name in parts:
            stack.enter_context(compiling(part, name))
        yield


@contextmanager
def both(first: AbstractContextManager[None], second: AbstractContextManager[None]) -> Iterator[None]:
    with first, second:
        yield


def settings(case: Case) -> dict[str, tuple[AbstractContextManager[None], int]]:
    """What is changed, and how many files are computed at once."""
    move = partial(moved, case.coder)
    found: dict[str, tuple[AbstractContextManager[None], int]] = {
        "2 threads": (threads(2), 1),
        "4 threads": (threads(4), 1),
        "batch of 64, channels last": (threads(1), 64),
        "oneDNN off": (torch.backends.mkldnn.flags(enabled=False), 1),
        "default float64": (default_float64(), 1),
        "integers in float64": (move("cpu", torch.float64), 1),
        "medium precision, bfloat16 allowed": (tf32(), 64),
    }
    if torch.cuda.is_available():
        found["CUDA, batch of 64"] = (move("cuda", torch.float32), 64)
        found["CUDA, one by one"] = (move("cuda", torch.float32), 1)
        found["CUDA, TF32 allowed"] = (both(move("cuda", torch.float32), tf32()), 64)
        found["CUDA, float64"] = (move("cuda", torch.float64), 64)
    return found


def compiled_settings(case: Case) -> dict[str, tuple[AbstractContextManager[None], int]]:
    found = {"torch.compile": (case.compiled(), 64)}
    if torch.cuda.is_available():
        found["torch.compile, CUDA"] = (both(moved(case.coder, "cuda", torch.float32), case.compiled()), 64)
    return found


def compare(case: Case, payloads: list[bytes], decoded: int, compiling: bool) -> int:
    """Prints a line for each setting; returns how many files differ."""
    wrong, expected = 0, digests(case, 1)
    decoded = 0 if compiling else decoded  # lanes and steps have shapes of their own: each would be compiled
    for name, (setting, together) in (compiled_settings if compiling else settings)(case).items():
        with setting:
            found = digests(case, together)
            written = sum(case.encode(index) != data for index, data in enumerate(payloads[:decoded]))
            read = sum(case.wrong(index, data) for index, data in enumerate(payloads[:decoded]))
        other = sum(a != b for a, b in zip(found, expected, strict=True))
        line = f"{other} of {len(found)} files have other tables, {written} of {decoded} other bytes"
        print(f"{case.name}, {name}: {line}, {read} of {decoded} decode wrongly", flush=True)
        wrong += other + written + read
    return wrong


def carry(cases: list[Case], payloads: list[list[bytes]], path: Path) -> None:
    tensors = {}
    for case, data in zip(cases, payloads, strict=True):
        tensors |= {f"{case.name}.{k}": v.contiguous().clone() for k, v in case.coder.state_dict().items()}
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
        read = sum(case.wrong(i, tensors[f"{case.name}/{i}"].numpy().tobytes()) for i in range(count))
        print(f"{case.name}, another process, {device}: {read} of {count} decode wrongly", flush=True)
        wrong += read
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--decoded", type=int, default=50)
    parser.add_argument("--carried", type=int, default=50, help="decoded by another process")
    parser.add_argument("--seed", type=int, default=0, help="other files: shards of a long run")
    parser.add_argument("--cases", nargs="+", default=["audio", "image", "masked", "hyperprior"])
    parser.add_argument("--compile", action="store_true", help="that alone, files of one shape; of tables only")
    parser.add_argument("--carry", type=Path)
    parser.add_argument("--check", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    made = cases(options.files, options.seed, options.cases, options.compile)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    if options.check:
        return min(sum(check(made, options.check, device) for device in devices), 100)
    needed = options.files if options.carry else min(options.files, max(options.decoded, options.carried))
    payloads = [[case.encode(index) for index in range(needed)] for case in made]
    if options.carry:
        carry(made, payloads, options.carry)
        return 0
    wrong = 0 if options.compile else elsewhere(made, payloads, options)
    for case, data in zip(made, payloads, strict=True):
        wrong += compare(case, data, options.decoded, options.compile)
    print(f"{wrong} mismatches")
    return min(wrong, 100)


def elsewhere(made: list[Case], payloads: list[list[bytes]], options: argparse.Namespace) -> int:
    """The first files decoded by a process with older instructions."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "carried.safetensors"
        carry(made, [data[: options.carried] for data in payloads], path)
        again = [sys.executable, __file__, "--files", str(options.files), "--seed", str(options.seed)]
        older = {"DNNL_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE"}
        command = [*again, "--check", str(path), "--cases", *options.cases]
        return subprocess.run(command, env=os.environ | older).returncode


if __name__ == "__main__":
    sys.exit(main())
