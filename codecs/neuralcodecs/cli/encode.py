"""``neuralcodecs encode``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from neuralcodecs.bitstream.metadata import Metadata
from neuralcodecs.cli.jobs import Job, incoming, outgoing, plan
from neuralcodecs.cli.load import load_model
from neuralcodecs.cli.work import Done, Worker
from neuralcodecs.codes import Codes
from neuralcodecs.files import SUFFIX, encode_signals, levels_for, report, write_codes
from neuralcodecs.medium import SignalInfo


class _Input(NamedTuple):
    signal: Tensor
    original: SignalInfo
    metadata: Metadata
    target: Path | None


class _Coded(NamedTuple):
    codes: Codes
    input: _Input


def run_encode(options: argparse.Namespace) -> int:
    codec, identity = load_model(options.model, options, options.tile)
    medium = codec.medium
    levels = options.levels if options.bitrate is None else levels_for(codec, options.bitrate)
    codec.check_levels(levels)  # before anything is read

    def read(job: Job) -> _Input:
        target = job.output(SUFFIX, options.overwrite)
        with incoming(job) as path:
            signal, original = medium.read(path)
            metadata: Metadata = {} if options.title is None else {"title": options.title}
            if options.metadata:
                metadata |= medium.facts(path) | ({} if job.source is None else {"name": job.source.name})
        return _Input(signal, original, metadata, target)

    def make(inputs: Sequence[_Input]) -> list[_Coded]:
        coded = encode_signals(codec, [item.signal for item in inputs], levels)
        return [_Coded(codes, item) for codes, item in zip(coded, inputs, strict=True)]

    def write(job: Job, coded: _Coded) -> Done:
        codes, item = coded
        with outgoing(item.target, SUFFIX) as path:
            size = write_codes(path, codec, codes, item.original, identity, item.metadata)
        line = "" if item.target is None else f"{item.target}: {report(codec, codes, size)}"
        return Done(line, medium.extent(codes.shapes[0]))

    todo = plan(options.inputs, options.output, medium.suffixes)
    if options.batch > 1:  # files of one size are most likely of one length, and only those are coded together
        todo.jobs.sort(key=lambda job: job.source.stat().st_size if job.source and job.source.is_file() else 0)
    return Worker(todo, medium.speed_unit).run(options.batch, read, make, write)
