"""Does the jobs of a plan: in groups, past those that fail, with a progress bar on a terminal."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from neuralcodecs.cli.jobs import Job, Plan
from neuralcodecs.cli.status import FAILED
from neuralcodecs.errors import CodecError

Read = TypeVar("Read")
Made = TypeVar("Made")


class Done(NamedTuple):
    """``line``: for standard output, empty for none. ``extent``: seconds or pixels. ``status``: of this job."""

    line: str
    extent: float
    status: int = 0


class Worker:
    """Counts what was done and what failed.

    Args:
        plan: the jobs; the failure of the only one of a plan that is ``alone`` is raised.
        unit: what one extent per second is called.
    """

    def __init__(self, plan: Plan, unit: str) -> None:
        self.plan = plan
        self.unit = unit
        self.failed = 0
        self.status = 0
        self._extent = 0.0
        self._started = time.perf_counter()
        self._bar = tqdm(total=len(plan.jobs), unit="file", disable=not sys.stderr.isatty(), file=sys.stderr)

    def run(
        self,
        size: int,
        read: Callable[[Job], Read],
        make: Callable[[Sequence[Read]], Sequence[Made]],
        write: Callable[[Job, Made], Done],
    ) -> int:
        """Read, make and write every job, ``size`` of them together; returns the exit status.

        Where ``make`` refuses a group its members are tried one by one.
        """
        if size < 1:
            raise CodecError(f"--batch {size}: give at least 1")
        jobs = self.plan.jobs
        with self._bar:
            for first in range(0, len(jobs), size):
                loaded: list[tuple[Job, Read]] = []
                for job in jobs[first : first + size]:
                    with self._catching(job):
                        loaded.append((job, read(job)))
                for job, made in self._make(loaded, make):
                    with self._catching(job):
                        self._count(write(job, made))
        self._summarize()
        return FAILED if self.failed else self.status

    def _make(
        self, loaded: list[tuple[Job, Read]], make: Callable[[Sequence[Read]], Sequence[Made]]
    ) -> Iterator[tuple[Job, Made]]:
        try:
            made = make([item for _, item in loaded]) if len(loaded) > 1 else None
        except CodecError:
            made = None
        if made is not None:
            yield from zip((job for job, _ in loaded), made, strict=True)
            return
        for job, item in loaded:
            with self._catching(job):
                yield job, make([item])[0]

    @contextmanager
    def _catching(self, job: Job) -> Iterator[None]:
        try:
            yield
        except CodecError as error:
            if self.plan.alone:
                raise
            self.failed += 1
            reason = " ".join(str(error).splitlines())
            named = reason if job.name in reason else f"{job.name}: {reason}"
            self._say(f"neuralcodecs: {named}", sys.stderr)
            self._bar.update()

    def _count(self, done: Done) -> None:
        self.status = max(self.status, done.status)
        self._extent += done.extent
        if done.line:
            self._say(done.line, sys.stdout)
        speed = self._extent / (time.perf_counter() - self._started)
        self._bar.set_postfix_str(f"{speed:.3g} {self.unit}", refresh=False)
        self._bar.update()

    def _say(self, line: str, stream: object) -> None:
        if self._bar.disable:
            print(line, file=stream, flush=stream is sys.stderr)  # type: ignore[call-overload]
        else:
            self._bar.write(line, file=stream)

    def _summarize(self) -> None:
        if self.plan.alone:
            return
        done = len(self.plan.jobs) - self.failed
        print(f"neuralcodecs: {done} done, {self.failed} failed, {self.plan.skipped} skipped", file=sys.stderr)
