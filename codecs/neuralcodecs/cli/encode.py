"""``neuralcodecs encode``: short files whole and in batches, long ones and pipes as they come."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from neuralcodecs.bitstream.metadata import Metadata
from neuralcodecs.cli.encoder import Encoder, Encoders
from neuralcodecs.cli.jobs import Job, incoming, outgoing, plan, sink
from neuralcodecs.cli.work import Done, Worker
from neuralcodecs.codes import Codes, Shape
from neuralcodecs.files import SUFFIX, Report, report, write_codes
from neuralcodecs.medium import Blocks, SignalInfo
from neuralcodecs.stream_files import encode_stream


class _Input(NamedTuple):
    """``read``: what the medium read, None where the input is to be streamed."""

    encoder: Encoder
    read: tuple[Tensor, SignalInfo] | None
    metadata: Metadata
    target: Path | None
    caption: bytes = b""


class _Coded(NamedTuple):
    codes: Codes | None
    input: _Input


def run_encode(options: argparse.Namespace) -> int:
    encoders = Encoders(options)
    todo = plan(options.inputs, options.output, encoders.suffixes)
    encoders.load(todo.jobs)
    if options.batch > 1:  # files of one size are most likely of one length, and only those are coded together
        todo.jobs.sort(key=lambda job: job.source.stat().st_size if job.source and job.source.is_file() else 0)
    encoding = _Encoding(options, encoders)
    return Worker(todo, encoders.speed_unit).run(options.batch, encoding.read, encoding.make, encoding.write)


class _Encoding:
    def __init__(self, options: argparse.Namespace, encoders: Encoders) -> None:
        self.options = options
        self.encoders = encoders

    def read(self, job: Job) -> _Input:
        encoder = self.encoders.of(job)
        target = job.output(SUFFIX, self.options.overwrite)
        metadata: Metadata = {} if self.options.title is None else {"title": self.options.title}
        if encoder.streams and job.source is None:  # nothing is known of it yet
            return _Input(encoder, None, metadata, target)
        with incoming(job) as path:
            read = encoder.read(path)
            if self.options.metadata:
                metadata |= encoder.medium.facts(path) | ({} if job.source is None else {"name": job.source.name})
            return _Input(encoder, read, metadata, target, encoder.caption_of(path))

    def make(self, inputs: Sequence[_Input]) -> list[_Coded]:
        groups: dict[Encoder, list[int]] = defaultdict(list)
        for index, item in enumerate(inputs):
            if item.read is not None:
                groups[item.encoder].append(index)
        coded: dict[int, Codes] = {}
        for encoder, members in groups.items():
            read = [item.read for item in (inputs[i] for i in members) if item.read is not None]
            codes = encoder.encode(read, [inputs[i].metadata for i in members], [inputs[i].caption for i in members])
            coded |= zip(members, codes, strict=True)
        return [_Coded(coded.get(index), item) for index, item in enumerate(inputs)]

    def write(self, job: Job, coded: _Coded) -> Done:
        codes, item = coded
        if codes is None or item.read is None:
            return self._stream(job, item)
        own = item.encoder
        with outgoing(item.target, SUFFIX) as path:
            size = write_codes(path, own.codec, codes, item.read[1], own.identity, item.metadata, own.coding)
        return _done(item, report(own.codec, codes, size), codes.shapes[0])

    def _stream(self, job: Job, item: _Input) -> Done:
        own = item.encoder
        with _blocks(job, own) as blocks, sink(item.target) as file:
            own.remark(job.name, blocks.original)
            cost = encode_stream(own.codec, blocks, file, own.levels, own.identity, item.metadata, own.coding)
        return _done(item, cost, blocks.shape)


@contextmanager
def _blocks(job: Job, encoder: Encoder) -> Iterator[Blocks]:
    if job.source is not None:
        yield encoder.medium.read_blocks(job.source)
        return
    with encoder.medium.receive(sys.stdin.buffer) as blocks:
        yield blocks


def _done(item: _Input, cost: Report, shape: Shape) -> Done:
    return Done("" if item.target is None else f"{item.target}: {cost}", item.encoder.medium.extent(shape))
