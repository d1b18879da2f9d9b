"""The Ray engine: the same shards, made by actors of Ray Data on one machine or many. https://docs.ray.io

Ray only schedules: a shard in the folder is the record, since Ray Data's own outputs are written at least once.
"""

import os
import warnings
from collections.abc import Iterator

import pyarrow as pa

from neuralcodecs.errors import CodecError
from neuralcodecs.lm.corpus.shards import Job, Progress, ShardMaker

RESTARTS = 16
"""Of an actor and of a task: items at which a process ends are given up at the second time."""

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_LOG_LEVEL": "ERROR"}
"""Environment, where the user has set none: our own lines say how it goes, what failed and why."""


class _Actor:
    def __init__(self, job: Job) -> None:
        self.maker = ShardMaker(job)

    def __call__(self, batch: pa.Table) -> pa.Table:
        told: list[Progress] = []
        for number in batch.column("shard").to_pylist():
            try:
                self.maker.make(number, told.append)
            except CodecError:
                raise
            except Exception:
                os._exit(1)  # its reason is in the shard's mark; Ray restarts actors that end, not those that raise
        items, extent = sum(p.items for p in told), sum(p.extent for p in told)
        bad = [pair for p in told for pair in p.bad.items()]
        ids, reasons = [name for name, _ in bad], [reason for _, reason in bad]
        return pa.table({"items": [items], "extent": [extent], "ids": [ids], "reasons": [reasons]})


def run_ray(job: Job, shards: list[int], workers: int) -> Iterator[Progress]:
    """Make all ``shards`` and tell how it goes; the folder and the inputs must be reachable from every node.

    Raises CodecError when ray is missing, and what it fails with.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError as error:
        raise CodecError("--engine ray needs Ray: pip install 'neuralcodecs[ray]'") from error
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.from_items([{"shard": n} for n in shards], override_num_blocks=len(shards))
    with warnings.catch_warnings(action="ignore"):  # that Ray 2.64 takes no restarts: the extra [ray] ends before it
        made = rows.map_batches(
            _Actor,
            fn_constructor_args=(job,),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(shards))),
            num_gpus=1 if job.device == "cuda" else 0,
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
        )
    try:
        for row in made.iter_rows():
            yield Progress(row["items"], row["extent"], dict(zip(row["ids"], row["reasons"], strict=True)))
    except (RayError, RuntimeError) as error:
        raise CodecError(f"Ray: {' '.join(str(error).split())[-300:]}") from error
