"""``neuralcodecs decode``: short files in batches, long ones and pipes as they come, parts one by one."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from neuralcodecs.bitstream import Reader
from neuralcodecs.cli.jobs import Job, incoming, outgoing, plan
from neuralcodecs.cli.load import Finder, Loaded
from neuralcodecs.cli.status import DAMAGED
from neuralcodecs.cli.work import Done, Worker
from neuralcodecs.codes import Codes
from neuralcodecs.errors import CodecError
from neuralcodecs.files import (
    SUFFIX,
    admit,
    check_header,
    checked_header,
    decode_codes,
    open_codes,
    original_of,
    read_whole,
)
from neuralcodecs.medium import SignalInfo, Span
from neuralcodecs.sampling import Sampling
from neuralcodecs.spans import decode_span, salvage
from neuralcodecs.stream_files import Decoding, can_stream, is_long


class _Input(NamedTuple):
    """``codes`` of a whole file, or the ``signal`` of part of one; neither for one that is to be streamed.

    ``reader``: of standard input, when that is.
    """

    model: Loaded
    target: Path | None
    original: SignalInfo
    codes: Codes | None = None
    signal: Tensor | None = None
    reader: Reader | None = None
    span: Span | None = None
    status: int = 0


class _Decoded(NamedTuple):
    signal: Tensor | None
    input: _Input


def run_decode(options: argparse.Namespace) -> int:
    decoding = _Decoding(options)
    todo = plan(options.inputs, options.output, (SUFFIX,))
    return Worker(todo, "x real time or pixel/s").run(options.batch, decoding.read, decoding.make, decoding.write)


class _Decoding:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.finder = Finder(options)
        self.partly = options.start is not None or options.stop is not None
        self.all = not self.partly and not options.salvage
        self.sampling = Sampling(options.seed, options.steps, options.guidance)
        self._streams: dict[bytes, bool] = {}
        if self.partly and options.salvage:
            raise CodecError("--salvage decodes the whole file: leave out --from and --to")

    def read(self, job: Job) -> _Input:
        if job.source is None and self.all:
            return self._whole(job, Reader(sys.stdin.buffer), Path(job.name))
        with incoming(job) as path, open_codes(path) as reader:
            if self.all:
                return self._whole(job, reader, path)
            model, target = self._model(job, reader)
            if self.options.salvage:
                return self._salvage(reader, path, job.name, model, target)
            return self._span(reader, path, model, target)

    def make(self, inputs: Sequence[_Input]) -> list[_Decoded]:
        signals: dict[int, Tensor] = {i: item.signal for i, item in enumerate(inputs) if item.signal is not None}
        groups: dict[bytes, list[int]] = defaultdict(list)
        for index, item in enumerate(inputs):
            if item.codes is not None:
                groups[item.model.identity].append(index)
        for members in groups.values():
            codes = [item.codes for item in (inputs[i] for i in members) if item.codes is not None]
            signals |= zip(members, decode_codes(inputs[members[0]].model.codec, codes, self.sampling), strict=True)
        return [_Decoded(signals.get(index), item) for index, item in enumerate(inputs)]

    def write(self, job: Job, decoded: _Decoded) -> Done:
        signal, item = decoded
        if signal is None:
            return self._stream(job, item)
        medium = item.model.codec.medium
        suffix = self._suffix(item.model)
        with outgoing(item.target, suffix) as path:
            if item.span is None:
                medium.write(path, signal, item.original)
            else:
                medium.write_span(path, signal, item.span, item.original)
        line = "" if item.target is None else str(item.target)
        return Done(line, medium.extent(tuple(signal.shape[1:])), item.status)

    def _stream(self, job: Job, item: _Input) -> Done:
        codec, identity = item.model
        medium, suffix = codec.medium, self._suffix(item.model)
        with self._reader(job, item) as reader:
            keep_rate = self.options.keep_codec_rate
            blocks = Decoding(codec, reader, Path(job.name), keep_rate, identity, self.sampling)
            if item.target is None:
                medium.send(sys.stdout.buffer, blocks, suffix)
            else:
                item.target.parent.mkdir(parents=True, exist_ok=True)
                medium.write_blocks(item.target, blocks)
        return Done("" if item.target is None else str(item.target), medium.extent(blocks.shape))

    @contextmanager
    def _reader(self, job: Job, item: _Input) -> Iterator[Reader]:
        if job.source is None and item.reader is not None:
            yield item.reader
        else:
            with open_codes(Path(job.name)) as reader:
                yield reader

    def _model(self, job: Job, reader: Reader) -> tuple[Loaded, Path | None]:
        model = self.finder.model(reader.header.fingerprint, job.name)
        return model, job.output(self._suffix(model), self.options.overwrite)

    def _whole(self, job: Job, reader: Reader, path: Path) -> _Input:
        model, target = self._model(job, reader)
        if job.source is None:
            admit(model.codec, reader, path, model.identity)
            check_header(model.codec, reader.header, path)
        else:  # with the lengths that only its end tells
            checked_header(model.codec, reader, path, model.identity)
        if self._can_stream(model):
            if job.source is None:
                return _Input(model, target, original_of(reader.header), reader=reader)
            if is_long(model.codec, reader.header.shape[0]):
                return _Input(model, target, original_of(reader.header))
        codes, original = read_whole(model.codec, reader, path)
        return _Input(model, target, self._kept(original, model, codes.shapes[0]), codes)

    def _can_stream(self, model: Loaded) -> bool:
        if model.identity not in self._streams:
            self._streams[model.identity] = can_stream(model.codec)
        return self._streams[model.identity]

    def _span(self, reader: Reader, path: Path, model: Loaded, target: Path | None) -> _Input:
        header = checked_header(model.codec, reader, path, model.identity)
        original = self._kept(original_of(header), model, header.shape)
        start = self.options.start or 0.0
        span = model.codec.medium.span(start, self.options.stop, header.shape[0], original)
        signal = decode_span(model.codec, reader, span.first, span.last, self.sampling).cpu()
        return _Input(model, target, original, signal=signal, span=span)

    def _salvage(self, reader: Reader, path: Path, name: str, model: Loaded, target: Path | None) -> _Input:
        admit(model.codec, reader, path, model.identity)
        rest = salvage(model.codec, reader, path, self.sampling)
        rate = rest.header.rate
        for start, stop in rest.lost:
            place = f"{start / rate:.3f} to {stop / rate:.3f} s" if rate else f"rows {start} to {stop}"
            print(f"neuralcodecs: {name}: damaged: {place}", file=sys.stderr)
        if rest.cut:
            length = rest.header.shape[0]
            place = f"{length / rate:.3f} s" if rate else f"row {length}"
            print(f"neuralcodecs: {name}: the end is missing: what followed {place} is lost", file=sys.stderr)
        original = self._kept(original_of(rest.header), model, rest.header.shape)
        status = DAMAGED if rest.lost or rest.cut else 0
        return _Input(model, target, original, signal=rest.signal.cpu(), status=status)

    def _kept(self, original: SignalInfo, model: Loaded, shape: tuple[int, ...]) -> SignalInfo:
        """What to write: the original's rate and shape, or with --keep-codec-rate the codec's."""
        if not self.options.keep_codec_rate:
            return original
        return SignalInfo(model.codec.medium.rate, original.channels, shape)

    def _suffix(self, model: Loaded) -> str:
        return self.options.suffix or model.codec.medium.suffixes[0]
