"""The command ``tokenize``: its options and what it does."""

import argparse
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuralcodecs.lm.corpus.shards import Job, Progress

EXAMPLE = "tokenize speech/ more.csv shard-000.tar --out codes -m mine --levels 4 --workers 8"
SUMMARY = "a corpus as Parquet shards of codes; run again to go on after a stop"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="folders, manifests (.csv, .txt), .tar, .parquet, saved datasets"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the corpus")
    parser.add_argument("-m", "--model", help="as for encode; default: the package's own for sound or pictures")
    parser.add_argument("--levels", type=int, help="number of codebooks to use")
    parser.add_argument("--engine", choices=["local", "ray"], default="local", help="ray: actors, also of a cluster")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; default: one for each GPU or core")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="items of one shape together (default 8)")
    parser.add_argument("--split", default="", help="of manifests: only rows of this split")
    parser.add_argument("--column", default="", help="of tables: the one of audio or pictures, where there are several")
    parser.add_argument("--device", choices=["cpu", "cuda", "auto"], default="auto")
    parser.add_argument("--trust", action="store_true", help="allow classes from outside this package in the model")


def run_tokenize(options: argparse.Namespace) -> int:
    from neuralcodecs.cli.load import load_model
    from neuralcodecs.cli.status import FAILED
    from neuralcodecs.errors import CodecError
    from neuralcodecs.lm.corpus.folder import Facts, Folder
    from neuralcodecs.lm.corpus.inputs import find_items
    from neuralcodecs.lm.corpus.shards import Job

    if options.batch < 1 or (options.workers or 1) < 1:
        raise CodecError(f"--batch {options.batch}, --workers {options.workers}: give at least 1")
    inputs = [str(Path(path).absolute()) for path in options.inputs]
    model = options.model or _default(inputs, options)
    codec, identity = load_model(model, options)
    levels, device = codec.check_levels(options.levels), codec.device.type
    facts = Facts(identity.hex(), levels, codec.medium.rate, device, inputs, options.split, options.column)
    folder = Folder(options.out.absolute())
    folder.check(facts)
    with folder.locked():
        if not folder.check(facts):
            items = find_items(inputs, codec.medium.suffixes, options.split, options.column)
            folder.begin(facts, items)
        run = secrets.token_hex(8)
        job = Job(folder.path, model, levels, facts.fingerprint, device, options.trust, options.batch, run)
        missing = folder.missing()
        if missing:
            kept = folder.count - sum(len(folder.items(number)) for number in missing)
            _follow(_engine(options, job, missing), folder.count, kept, codec.medium.speed_unit)
        account = folder.finish()
    print(f"{folder.path}: {account.done} items in {folder.shards} shards, {account.bad} bad")
    if account.bad:
        print(f"neuralcodecs: {account.bad} items are bad: {folder.path / 'bad.csv'} says why", file=sys.stderr)
    return FAILED if account.bad else 0


def _default(inputs: list[str], options: argparse.Namespace) -> str:
    """The default model for the medium of the inputs; CodecError where they hold two, or do not tell."""
    from neuralcodecs.errors import CodecError
    from neuralcodecs.lm.corpus.inputs import find_items
    from neuralcodecs.shipped import SUFFIXES, default_folder, only_default

    held = []
    for name, suffixes in SUFFIXES.items():
        try:
            found = find_items(inputs, suffixes, options.split, options.column)
        except CodecError:
            continue
        held += [name] if found else []
    return str(default_folder(only_default(held, ", ".join(inputs))))


def _engine(options: argparse.Namespace, job: "Job", missing: list[int]) -> "Iterator[Progress]":
    import torch

    gpus = torch.cuda.device_count() if job.device == "cuda" else 0
    workers = options.workers or gpus or os.cpu_count() or 1
    if options.engine == "ray":
        from neuralcodecs.lm.corpus.cluster import run_ray

        return run_ray(job, missing, workers)
    from neuralcodecs.lm.corpus.local import run_local

    return run_local(job, missing, workers, [f"cuda:{n}" for n in range(gpus)] or ["cpu"])


def _follow(progress: "Iterator[Progress]", total: int, kept: int, unit: str) -> None:
    """Show items and speed on a terminal, name bad items, and sum up."""
    from tqdm import tqdm

    extent, count, started = 0.0, 0, time.perf_counter()
    with tqdm(total=total, initial=kept, unit="item", disable=not sys.stderr.isatty(), file=sys.stderr) as bar:
        for part in progress:
            extent, count = extent + part.extent, count + part.items
            for name, reason in part.bad.items():
                bar.write(f"neuralcodecs: {reason if name in reason else f'{name}: {reason}'}", file=sys.stderr)
            bar.set_postfix_str(f"{extent / (time.perf_counter() - started):.3g} {unit}", refresh=False)
            bar.update(part.items)
    seconds = time.perf_counter() - started
    print(f"neuralcodecs: {count} items in {seconds:.1f} s, {extent / seconds:.3g} {unit}", file=sys.stderr)
