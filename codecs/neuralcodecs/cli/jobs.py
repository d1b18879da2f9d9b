"""Inputs and outputs of a command on many files: which there are, and where each goes."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from neuralcodecs.atomic import MARK, atomic, spooled
from neuralcodecs.errors import CodecError

PIPE = "-"


class Job(NamedTuple):
    """One input and its output; None stands for standard input and output.

    ``complete``: the target was named by the user; others get the suffix of what is written. ``fault``: why this job
    cannot be done.
    """

    source: Path | None
    target: Path | None
    complete: bool = False
    fault: str = ""

    @property
    def name(self) -> str:
        return "standard input" if self.source is None else str(self.source)

    def output(self, suffix: str, overwrite: bool) -> Path | None:
        """Where to write a file of this suffix; CodecError when something is there already or no folder can hold it."""
        if self.fault:
            raise CodecError(self.fault)
        if self.target is None:
            return None
        target = self.target if self.complete else self.target.with_name(self.target.name + suffix)
        if target.exists() and not overwrite:
            raise CodecError(f"{target} exists: add --overwrite to replace it, or name another with -o")
        if target.is_dir():
            raise CodecError(f"{target} is a folder: name another output with -o")
        if self.complete and not target.parent.is_dir():
            raise CodecError(f"no folder {target.parent} for the output: make it first")
        return target


class Plan(NamedTuple):
    """``skipped``: files in folders that have none of the suffixes. ``alone``: one file was asked for by name."""

    jobs: list[Job]
    skipped: int
    alone: bool


def plan(inputs: Sequence[str], output: str | None, suffixes: tuple[str, ...]) -> Plan:
    """A job for every file named and every file in a folder that ends in one of ``suffixes``, in a fixed order.

    A folder's tree is mirrored below ``output``; without one, outputs go beside their inputs.
    Raises CodecError for inputs that the output cannot hold.
    """
    sources: list[tuple[Path | None, Path]] = []
    skipped = 0
    for text in inputs:
        path = Path(text)
        if text == PIPE:
            sources.append((None, path))
        elif path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file() and MARK not in p.name)
            chosen = [p for p in files if p.suffix.lower() in suffixes and not p.name.startswith(".")]
            skipped += len(files) - len(chosen)
            sources += [(p, p.relative_to(path)) for p in chosen]
        else:
            sources.append((path, Path(path.name)))
    if not sources:
        raise CodecError(f"no {', '.join(suffixes)} file in {', '.join(inputs)} ({skipped} other files)")
    alone = len(inputs) == 1 and not Path(inputs[0]).is_dir()
    if inputs.count(PIPE) > 1:
        raise CodecError("standard input can be read once: give - once")
    jobs = [_job(source, inside, output, alone) for source, inside in dict.fromkeys(sources)]
    return Plan(_without_clashes(jobs), skipped, alone)


def _job(source: Path | None, inside: Path, output: str | None, alone: bool) -> Job:
    if output == PIPE:
        if not alone:
            raise CodecError("-o - takes one input: name a folder for several")
        return Job(source, None)
    if output is None:
        return Job(source, None if source is None else source.with_suffix(""))
    if alone and not (output.endswith("/") or Path(output).is_dir()):
        return Job(source, Path(output), complete=True)
    if Path(output).is_file():
        raise CodecError(f"{output} is a file: several outputs need a folder")
    if source is None:
        raise CodecError(f"standard input has no name to use in {output}: name the output file")
    return Job(source, Path(output) / inside.with_suffix(""))


def _without_clashes(jobs: list[Job]) -> list[Job]:
    taken: dict[Path, Job] = {}
    checked = []
    for job in jobs:
        first = job if job.target is None else taken.setdefault(job.target, job)
        if first is not job:
            job = job._replace(fault=f"its output is that of {first.name}: rename one, or encode it on its own")
        checked.append(job)
    return checked


@contextmanager
def incoming(job: Job) -> Iterator[Path]:
    """The input as a file; standard input is kept in a temporary one."""
    if job.source is not None:
        yield job.source
        return
    with spooled(sys.stdin.buffer) as path:
        yield path


@contextmanager
def outgoing(target: Path | None, suffix: str) -> Iterator[Path]:
    """A path to write to; what was written for standard output goes there when it is whole."""
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield target
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"standard-output{suffix}"
        yield path
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


@contextmanager
def sink(target: Path | None) -> Iterator[BinaryIO]:
    """A file to write to that is there when it is whole, or standard output, which gets what is written at once."""
    if target is None:
        yield sys.stdout.buffer
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic(target) as temporary, temporary.open("wb") as file:
        yield file
