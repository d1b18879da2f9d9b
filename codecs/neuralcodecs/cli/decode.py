"""``neuralcodecs decode``: whole files in batches; a span or what is left of a damaged file, one by one."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from neuralcodecs.cli.jobs import Job, incoming, outgoing, plan
from neuralcodecs.cli.load import Finder, Loaded
from neuralcodecs.cli.status import DAMAGED
from neuralcodecs.cli.work import Done, Worker
from neuralcodecs.codes import Codes
from neuralcodecs.errors import CodecError
from neuralcodecs.files import (
    SUFFIX,
    check_fingerprint,
    checked_header,
    decode_codes,
    open_codes,
    original_of,
    read_codes,
)
from neuralcodecs.medium import SignalInfo, Span
from neuralcodecs.spans import decode_span, salvage


class _Input(NamedTuple):
    """``codes`` of a whole file, or the ``signal`` of part of one."""

    model: Loaded
    target: Path | None
    original: SignalInfo
    codes: Codes | None = None
    signal: Tensor | None = None
    span: Span | None = None
    status: int = 0


class _Decoded(NamedTuple):
    signal: Tensor
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
        if self.partly and options.salvage:
            raise CodecError("--salvage decodes the whole file: leave out --from and --to")

    def read(self, job: Job) -> _Input:
        with incoming(job) as path:
            with open_codes(path) as reader:
                wanted = reader.header.fingerprint
            model = self.finder.model(wanted, job.name)
            target = job.output(self._suffix(model), self.options.overwrite)
            if self.options.salvage:
                return self._salvage(path, job.name, model, target)
            if self.partly:
                return self._span(path, model, target)
            codes, original = read_codes(path, *model)
        return _Input(model, target, self._kept(original, model, codes.shapes[0]), codes)

    def make(self, inputs: Sequence[_Input]) -> list[_Decoded]:
        signals: dict[int, Tensor] = {i: item.signal for i, item in enumerate(inputs) if item.signal is not None}
        groups: dict[bytes, list[int]] = defaultdict(list)
        for index, item in enumerate(inputs):
            if item.codes is not None:
                groups[item.model.identity].append(index)
        for members in groups.values():
            codes = [item.codes for item in (inputs[i] for i in members) if item.codes is not None]
            signals |= zip(members, decode_codes(inputs[members[0]].model.codec, codes), strict=True)
        return [_Decoded(signals[index], item) for index, item in enumerate(inputs)]

    def write(self, job: Job, decoded: _Decoded) -> Done:
        signal, item = decoded
        medium = item.model.codec.medium
        suffix = self._suffix(item.model)
        with outgoing(item.target, suffix) as path:
            if item.span is None:
                medium.write(path, signal, item.original)
            else:
                medium.write_span(path, signal, item.span, item.original)
        line = "" if item.target is None else str(item.target)
        return Done(line, medium.extent(tuple(signal.shape[1:])), item.status)

    def _span(self, path: Path, model: Loaded, target: Path | None) -> _Input:
        with open_codes(path) as reader:
            header = checked_header(model.codec, reader, path, model.identity)
            original = self._kept(original_of(header), model, header.shape)
            start = self.options.start or 0.0
            span = model.codec.medium.span(start, self.options.stop, header.shape[0], original)
            signal = decode_span(model.codec, reader, span.first, span.last).cpu()
        return _Input(model, target, original, signal=signal, span=span)

    def _salvage(self, path: Path, name: str, model: Loaded, target: Path | None) -> _Input:
        with open_codes(path) as reader:
            check_fingerprint(reader.header, path, model.identity)
            rest = salvage(model.codec, reader, path)
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
