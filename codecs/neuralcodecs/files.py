"""Codes to .ncs files and back, and signal files to .ncs files and back: what the commands and the evaluation call."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.atomic import atomic
from neuralcodecs.bitstream import UNKNOWN, Header, Original, Reader, StreamSpec, write
from neuralcodecs.bitstream.metadata import Metadata
from neuralcodecs.bitstream.wire import ByteSink
from neuralcodecs.captions import with_found
from neuralcodecs.chunking import chunks_of
from neuralcodecs.codec import Codec
from neuralcodecs.codes import FREE, Codes, Layout, Shape, Stream
from neuralcodecs.coding import Coding, use_coders
from neuralcodecs.errors import CodecError
from neuralcodecs.medium import SignalInfo
from neuralcodecs.pretrained import fingerprint
from neuralcodecs.sampling import NO_SAMPLING, Sampling

SUFFIX = ".ncs"


@dataclass(frozen=True)
class Report:
    """What encoding one file cost."""

    written_bytes: int
    nominal: float
    written: float
    unit: str

    def __str__(self) -> str:
        return f"{self.written_bytes} bytes, {self.written:.3f} {self.unit} written ({self.nominal:.3f} nominal)"


def encode_file(codec: Codec, source: Path, target: Path, levels: int | None = None) -> Report:
    """Encode one signal file; ``target`` appears whole or not at all."""
    signal, original = codec.medium.read(source)
    codes = with_found(codec, encode_signals(codec, [signal], levels)[0], source)
    return report(codec, codes, write_codes(target, codec, codes, original))


def encode_signals(codec: Codec, signals: Sequence[Float[Tensor, "c ..."]], levels: int | None = None) -> list[Codes]:
    """Codes of several signals, those of one shape coded together: the codes of each alone."""
    shapes = [tuple(signal.shape[1:]) for signal in signals]
    batch = torch.zeros(len(signals), codec.encoder.channels, *(max(axis) for axis in zip(*shapes, strict=True)))
    for row, signal in zip(batch, signals, strict=True):
        row[(slice(None), *(slice(n) for n in signal.shape[1:]))] = signal
    return codec.encode(batch.to(codec.device), levels, shapes).items()


def decode_codes(
    codec: Codec, items: Sequence[Codes], sampling: Sampling = NO_SAMPLING
) -> list[Float[Tensor, "c ..."]]:
    """Signals of the codes of several files, those of one shape and number of levels decoded together; on the CPU.

    ``sampling``: goes before what the files say.
    """
    signals: list[Tensor | None] = [None] * len(items)
    groups: dict[tuple[tuple[int, ...], ...], list[int]] = defaultdict(list)
    for index, codes in enumerate(items):
        groups[tuple(stream.alphabet for stream in codes)].append(index)
    for members in groups.values():
        decoded = codec.decode(Codes.batch([items[i] for i in members]), sampling).cpu()
        for index, signal in zip(members, decoded, strict=True):
            signals[index] = signal[(slice(None), *(slice(n) for n in items[index].shapes[0]))]
    return [signal for signal in signals if signal is not None]


def decode_file(codec: Codec, source: Path, target: Path) -> None:
    """Decode one .ncs file to a signal file with the original's rate, channels and exact shape."""
    codes, original = read_codes(source, codec)
    codec.medium.write(target, decode_codes(codec, [codes])[0], original)


def report(codec: Codec, codes: Codes, size: int) -> Report:
    """What the codes of one signal cost in a file of ``size`` bytes."""
    bits = (float(codec.bits(codes)[0]), 8.0 * size)
    nominal, written = (codec.medium.bitrate(count, codes.shapes[0]) for count in bits)
    return Report(size, nominal, written, codec.medium.unit)


def write_codes(
    target: Path,
    codec: Codec,
    codes: Codes,
    original: SignalInfo,
    identity: bytes | None = None,
    metadata: Metadata | None = None,
    coding: Coding | None = None,
) -> int:
    """Write the codes of one signal; returns the file's size in bytes.

    ``identity``: the codec's fingerprint, from whoever handles many files; it costs a hash over all weights.
    ``coding``: with which prior; None: the best that the codec has.
    """
    with atomic(target) as temporary, temporary.open("wb") as file:
        put_codes(file, codec, codes, original, identity, metadata, coding)
    return target.stat().st_size


def put_codes(
    file: ByteSink,
    codec: Codec,
    codes: Codes,
    original: SignalInfo,
    identity: bytes | None = None,
    metadata: Metadata | None = None,
    coding: Coding | None = None,
) -> None:
    """Write the codes of one signal to an open file; the arguments are those of ``write_codes``."""
    coding = coding or Coding(codec)
    if len(codes.shapes) != 1:
        raise CodecError(f"a file holds one signal, these codes have {len(codes.shapes)}: write codes.item(i)")
    streams = tuple(StreamSpec(s.name, tuple(s.alphabet), s.grids[0]) for s in codes)
    metadata = codes.samplings[0].metadata() | (metadata or {})
    identity = identity or fingerprint(codec)
    header = coding.header(header_for(codec, codes.shapes[0], streams, original, identity, metadata))
    write(file, header, chunks_of(codec, [codes], coding.chunk_seconds), coders=coding.payloads)


def header_for(
    codec: Codec,
    shape: Shape,
    streams: tuple[StreamSpec, ...],
    original: SignalInfo,
    identity: bytes,
    metadata: Metadata | None,
) -> Header:
    """The header of a signal of ``shape``, which the codec's medium made of the ``original``.

    Of a generative decoder it names seed and steps, the decoder's own unless ``metadata`` has others.
    """
    own = codec.decoder.sampling or NO_SAMPLING
    info = SignalInfo(codec.medium.rate, codec.medium.channels, shape)
    return Header(
        fingerprint=identity,
        rate=info.rate,
        channels=info.channels,
        shape=shape,
        streams=streams,
        original=None if original == info else Original(original.rate, original.channels, original.shape),
        metadata=own.metadata() | (metadata or {}) or None,
    )


def read_codes(source: Path, codec: Codec, identity: bytes | None = None) -> tuple[Codes, SignalInfo]:
    """The codes in a file, on the codec's device, and what the original signal was; ``identity`` as for writing.

    Raises CodecError when the file is damaged or was made by another model.
    """
    with open_codes(source) as reader:
        checked_header(codec, reader, source, identity or fingerprint(codec))
        return read_whole(codec, reader, source)


def read_whole(codec: Codec, reader: Reader, source: Path) -> tuple[Codes, SignalInfo]:
    """``read_codes`` from a reader, also of a pipe, that stands at its beginning and whose header has been checked."""
    checked = reader.header
    values = reader.read_all()
    header = reader.header
    if header != checked:  # an open one of a pipe, whose end has told the lengths
        check_header(codec, header, source)
    streams = tuple(
        Stream(spec.name, torch.from_numpy(array)[None].to(codec.device), spec.alphabet, (spec.grid,))
        for spec, array in zip(header.streams, values, strict=True)
    )
    return Codes(streams, (header.shape,), (codec.decoder.said(header.metadata),)), original_of(header)


@contextmanager
def open_codes(source: Path) -> Iterator[Reader]:
    """A reader of the file; CodecError when there is none or its header is damaged."""
    if not source.is_file():
        raise CodecError(f"no file {source}")
    with source.open("rb") as file:
        yield Reader(file)


def original_of(header: Header) -> SignalInfo:
    """What the signal in the file was before the codec's medium read it."""
    original = header.original or Original(header.rate, header.channels, header.shape)
    return SignalInfo(original.rate, original.channels, original.shape)


def admit(codec: Codec, reader: Reader, source: Path, own: bytes) -> None:
    """Let ``codec``, whose fingerprint is ``own``, decode the file; CodecError when another model or prior made it."""
    made_by = reader.header.fingerprint
    if made_by != own:
        raise CodecError(f"{source} was made by model {made_by.hex()}, not by {own.hex()}: name it with -m")
    use_coders(codec, reader, source)


def checked_header(codec: Codec, reader: Reader, source: Path, own: bytes) -> Header:
    """The header, lengths known, before payloads are read; CodecError unless of ``codec``, of fingerprint ``own``."""
    admit(codec, reader, source, own)
    _ = reader.chunks  # the heads alone, up to the lengths of an open file
    check_header(codec, reader.header, source)
    return reader.header


def check_header(codec: Codec, header: Header, source: Path) -> None:
    """CodecError unless ``codec`` writes this header for a signal of its shape that was made of its original.

    Of a header whose lengths are unknown, all but these.
    """
    signal = (header.rate, header.channels, len(header.shape))
    own = (codec.medium.rate, codec.medium.channels, len(codec.encoder.strides))
    if signal != own or 0 in header.shape:
        raise CodecError(
            f"{source}: a signal of {header.channels} x {header.shape} at rate {header.rate} is none of this model's: "
            "the file is forged"
        )
    if not header.is_open:
        codec.medium.check_original(str(source), header.shape, original_of(header))
    main, *sides = zip_longest(header.streams, _layouts(codec, header))
    if not _fits(*main, header.is_open):
        raise CodecError(
            f"{source}: grid {header.streams[0].grid} or alphabet is not what this model writes for {header.shape}"
        )
    if not all(_fits(stream, layout, header.is_open) for stream, layout in sides):
        raise CodecError(f"{source}: its side streams are not what this model writes for {header.shape}: it is forged")


def _layouts(codec: Codec, header: Header) -> tuple[Layout, ...]:
    """Of the streams that the codec writes for the header's shape, at the levels that its main alphabet tells."""
    sizes = {codec.quantizer.alphabet(n): n for n in range(codec.quantizer.most_levels, 0, -1)}
    levels = sizes.get(header.streams[0].alphabet, 1)
    # of an open header only the first axis is unknown, and an open one is compared without it
    return codec.layouts(tuple(max(n, 1) for n in header.shape), levels)


def _fits(stream: StreamSpec | None, layout: Layout | None, is_open: bool) -> bool:
    if stream is None or layout is None or len(stream.grid) != len(layout.grid):
        return False
    if (stream.name, stream.alphabet) != (layout.name, layout.alphabet):
        return False
    if is_open:
        return stream.grid == (UNKNOWN, *layout.grid[1:])
    return all(m in (n, FREE) for n, m in zip(stream.grid, layout.grid, strict=True))
