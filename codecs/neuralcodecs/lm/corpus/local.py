"""The local engine: worker processes that are given shards one at a time, and replaced when they end."""

import multiprocessing as mp
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from neuralcodecs.errors import CodecError
from neuralcodecs.lm.corpus.shards import Job, Progress, ShardMaker

DEATHS = 16
"""Ends of workers, without a shard made in between, after which something else than an item is wrong."""


class _Worker:
    """A process and the shard that it was given; ``place``: which of the workers it is, and so its device."""

    def __init__(self, job: Job, place: int) -> None:
        context = mp.get_context("spawn")
        self.place = place
        self.shard: int | None = None
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(job, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, shards: list[int]) -> None:
        """The next shard, or None for the end."""
        self.shard = shards.pop(0) if shards else None
        with suppress(OSError):  # it has ended, which whoever waits for it is told
            self.connection.send(self.shard)

    def reason(self) -> str:
        self.process.join()
        return f"exit status {self.process.exitcode}"


def run_local(job: Job, shards: list[int], workers: int, devices: list[str]) -> Iterator[Progress]:
    """Make all ``shards`` and tell how it goes. Worker n uses device n modulo their number.

    Raises CodecError what a worker refuses, and when workers keep ending.
    """
    waiting, deaths, last = list(shards), 0, ""
    jobs = [_on(job, devices[place % len(devices)]) for place in range(min(workers, len(shards)))]
    team = [_Worker(one, place) for place, one in enumerate(jobs)]
    for worker in team:
        worker.give(waiting)
    try:
        while team:
            ready = wait([worker.connection for worker in team])
            for worker in [worker for worker in team if worker.connection in ready]:
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    team.remove(worker)
                    if worker.shard is None:
                        continue
                    deaths, last = deaths + 1, worker.reason()
                    if deaths >= DEATHS:
                        raise CodecError(
                            f"{deaths} workers ended in a row ({last}): correct that and run again"
                        ) from None
                    waiting.insert(0, worker.shard)
                    team.append(_Worker(jobs[worker.place], worker.place))
                    team[-1].give(waiting)
                    continue
                if isinstance(message, str):
                    raise CodecError(message)
                if message is None:
                    deaths = 0
                    worker.give(waiting)
                else:
                    yield message
    finally:
        for worker in team:
            worker.process.kill()


def _on(job: Job, device: str) -> Job:
    return Job(**{**job.__dict__, "device": device})


def _serve(job: Job, connection: Connection) -> None:
    """What a worker does: a refusal is sent as text, any other exception ends it."""
    parent = mp.parent_process()
    assert parent is not None
    threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
    try:
        maker = ShardMaker(job)
    except CodecError as error:
        connection.send(str(error))
        return
    while (shard := connection.recv()) is not None:
        maker.make(shard, connection.send)
        connection.send(None)


def _follow(sentinel: int) -> None:
    """End when the driver does, however that ended."""
    wait([sentinel])
    os._exit(1)
