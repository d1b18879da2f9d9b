"""``neuralcodecs encode``: short files whole and in batches, long ones and pipes as they come."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from neuralcodecs.bitstream.metadata import Metadata
from neuralcodecs.captions import bounded, shortened, with_captions
from neuralcodecs.cli.jobs import Job, incoming, outgoing, plan, sink
from neuralcodecs.cli.load import load_model
from neuralcodecs.cli.work import Done, Worker
from neuralcodecs.codes import Codes, Shape
from neuralcodecs.coding import Coding
from neuralcodecs.files import SUFFIX, Report, encode_signals, levels_for, report, write_codes
from neuralcodecs.medium import Blocks, SignalInfo
from neuralcodecs.refining import refined
from neuralcodecs.stream_files import can_stream, encode_stream, is_long


class _Input(NamedTuple):
    """``read``: what the medium read, None where the input is to be streamed."""

    read: tuple[Tensor, SignalInfo] | None
    metadata: Metadata
    target: Path | None
    caption: bytes = b""


class _Coded(NamedTuple):
    codes: Codes | None
    input: _Input


def run_encode(options: argparse.Namespace) -> int:
    encoding = _Encoding(options)
    todo = plan(options.inputs, options.output, encoding.medium.suffixes)
    if options.batch > 1:  # files of one size are most likely of one length, and only those are coded together
        todo.jobs.sort(key=lambda job: job.source.stat().st_size if job.source and job.source.is_file() else 0)
    worker = Worker(todo, encoding.medium.speed_unit)
    return worker.run(options.batch, encoding.read, encoding.make, encoding.write)


class _Encoding:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.codec, self.identity = load_model(options.model, options, options.tile)
        self.medium = self.codec.medium
        self.levels = options.levels if options.bitrate is None else levels_for(self.codec, options.bitrate)
        self.codec.check_levels(self.levels)  # before anything is read
        self.longest = self.codec.quantizer.longest_caption
        self.caption = None if options.caption is None else bounded(options.caption, self.longest)
        self.coding = Coding(self.codec, options.prior)
        self.streams = can_stream(self.codec)

    def read(self, job: Job) -> _Input:
        target = job.output(SUFFIX, self.options.overwrite)
        metadata: Metadata = {} if self.options.title is None else {"title": self.options.title}
        if self.streams and job.source is None:  # nothing is known of it yet
            return _Input(None, metadata, target)
        with incoming(job) as path:
            read = self._read(path)
            if self.options.metadata:
                metadata |= self.medium.facts(path) | ({} if job.source is None else {"name": job.source.name})
            return _Input(read, metadata, target, self._caption(path))

    def make(self, inputs: Sequence[_Input]) -> list[_Coded]:
        signals = [item.read[0] for item in inputs if item.read is not None]
        coded = iter(self._encode(signals) if signals else [])
        return [_Coded(None if item.read is None else self._captioned(next(coded), item), item) for item in inputs]

    def _encode(self, signals: Sequence[Tensor]) -> list[Codes]:
        if self.options.refine is None:
            return encode_signals(self.codec, signals, self.levels)
        return [refined(self.codec, signal, self.levels, self.options.refine) for signal in signals]

    def _caption(self, path: Path) -> bytes:
        """The user's, else what the data says, as much of it as the model takes."""
        if self.caption is None and self.longest:
            return shortened(self.medium.caption(path), self.longest)
        return self.caption or b""

    def _captioned(self, codes: Codes, item: _Input) -> Codes:
        return with_captions(codes, [item.caption]) if self.longest else codes

    def write(self, job: Job, coded: _Coded) -> Done:
        codes, item = coded
        if codes is None or item.read is None:
            return self._stream(job, item)
        with outgoing(item.target, SUFFIX) as path:
            size = write_codes(path, self.codec, codes, item.read[1], self.identity, item.metadata, self.coding)
        return self._done(item.target, report(self.codec, codes, size), codes.shapes[0])

    def _read(self, path: Path) -> tuple[Tensor, SignalInfo] | None:
        if self.streams and is_long(self.codec, self.medium.read_blocks(path).shape[0]):
            return None
        return self.medium.read(path)

    def _stream(self, job: Job, item: _Input) -> Done:
        with self._blocks(job) as blocks, sink(item.target) as file:
            cost = encode_stream(self.codec, blocks, file, self.levels, self.identity, item.metadata, self.coding)
        return self._done(item.target, cost, blocks.shape)

    @contextmanager
    def _blocks(self, job: Job) -> Iterator[Blocks]:
        if job.source is not None:
            yield self.medium.read_blocks(job.source)
            return
        with self.medium.receive(sys.stdin.buffer) as blocks:
            yield blocks

    def _done(self, target: Path | None, cost: Report, shape: Shape) -> Done:
        return Done("" if target is None else f"{target}: {cost}", self.medium.extent(shape))
