"""Parts of a file: a span of its signal, or what is left of a damaged one, decoded without the rest.

A codec with pieces decodes the pieces that touch the span: exactly the whole decode's samples. One without decodes the
span's frames with some on either side, twice as many each time until the span changes by less than ``TOLERANCE``: exact
but for float rounding where the decoder's receptive field is finite, within the tolerance where a recurrent layer
remembers for ever; a decoder that looks at everything ends with the whole file.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.bitstream import Chunk, ChunkInfo, Header, Reader
from neuralcodecs.codec import Codec
from neuralcodecs.errors import CodecError
from neuralcodecs.files import check_header
from neuralcodecs.pieces import Box, crop, extent, fit, runs_of, uncovered
from neuralcodecs.sampling import NO_SAMPLING, Sampling

CONTEXT = 16
"""Frames on either side of a span that are decoded at first."""
TOLERANCE = 1e-5
"""Of samples in [-1, 1]: a third of a 16-bit step."""


class Rest(NamedTuple):
    """What a damaged file still gives: its header with every length known, its signal, and the ranges that are lost.

    The signal is 0, silence or gray, in the ``lost`` ranges, ``(start, stop)`` along its first axis. ``cut``: the file
    was written before its length was known and its end is missing, so that what followed is not known.
    """

    header: Header
    signal: Float[Tensor, "c *space"]
    lost: list[tuple[int, int]]
    cut: bool


class Pieces(NamedTuple):
    """The boxes of a signal, and their frames in the main stream."""

    boxes: list[Box]
    frames: list[tuple[int, int]]


def decode_span(
    codec: Codec, reader: Reader, first: int, last: int, sampling: Sampling = NO_SAMPLING
) -> Float[Tensor, "c t"]:
    """Samples ``first`` to ``last`` (exclusive) of the whole decode; reads only the chunks that these need.

    ``sampling`` goes before what the file says.
    """
    _check_local(codec)
    parts = Parts(reader.chunks, reader.read, _chosen(codec, sampling, reader.header))
    header = reader.header  # after the chunks, which tell the lengths of an open file
    if codec.segmenter is None:
        return _converged(codec, header, parts, first, last)
    pieces = _pieces(codec, header.shape)
    touching = [i for i, ((start, stop), *_) in enumerate(pieces.boxes) if start < last and stop > first]
    begin, end = touching[0], touching[-1] + 1
    # segmenters weigh by the first piece that they are given: it must be a full one
    while begin and extent(pieces.boxes[begin]) != extent(pieces.boxes[0]):
        begin -= 1
    joined = _joined(codec, parts, pieces, begin, end)
    offset = pieces.boxes[begin][0][0]
    return joined[..., first - offset : last - offset]


def salvage(codec: Codec, reader: Reader, source: Path, sampling: Sampling = NO_SAMPLING) -> Rest:
    """Decode every intact chunk of a damaged file. Raises CodecError when there is none or the header is damaged.

    Around a lost range a decoder without pieces starts afresh: a few frames after it differ from the whole decode.
    """
    _check_local(codec)
    found = reader.salvage()
    if not found.chunks:
        raise CodecError("no chunk is intact: nothing can be salvaged")
    parts = Parts(found.chunks, reader.read, _chosen(codec, sampling, found.header))
    header = _closed(codec, found.header, found.chunks[-1])
    check_header(codec, header, source)
    signal = torch.zeros(header.channels, *header.shape, device=codec.device)
    kept = []
    for box, part in _intact(codec, header, parts):
        crop(signal, box).copy_(fit(part, extent(box)))
        kept.append(box)
    return Rest(header, signal, uncovered(kept, header.shape), found.header.is_open)


def _check_local(codec: Codec) -> None:
    if codec.sided:
        raise CodecError("codes with side streams are decoded whole: no part of this file can be decoded by itself")


def _chosen(codec: Codec, wanted: Sampling, header: Header) -> Sampling:
    return codec.decoder.choose(wanted, codec.decoder.said(header.metadata))


class Parts:
    """Ranges of streams from whichever chunks hold them; a chunk is read once. ``sampling``: how they are decoded."""

    def __init__(self, chunks: Sequence[ChunkInfo], read: Callable[[ChunkInfo], Chunk], sampling: Sampling) -> None:
        self.chunks, self.sampling = chunks, sampling
        self._read = read
        self._held: dict[int, Chunk] = {}

    def take(self, stream: int, start: int, stop: int) -> Tensor:
        """int64 ``(1, q, stop - start, ...)``; the chunks must cover the range."""
        values = []
        for info in self.chunks:
            begin, end = info.starts[stream], info.stops[stream]
            if begin < stop and end > start:
                if info.offset not in self._held:
                    self._held[info.offset] = self._read(info)
                whole = self._held[info.offset].values[stream]
                values.append(whole[:, max(start - begin, 0) : stop - begin])
        return torch.from_numpy(np.concatenate(values, axis=1))[None]

    def runs(self, stream: int) -> list[tuple[int, int]]:
        """Maximal ranges of a stream that chunks cover without a gap."""
        runs: list[tuple[int, int]] = []
        for info in self.chunks:
            start, stop = info.starts[stream], info.stops[stream]
            if runs and runs[-1][1] == start:
                runs[-1] = (runs[-1][0], stop)
            elif start < stop:
                runs.append((start, stop))
        return runs


def _converged(codec: Codec, header: Header, parts: Parts, first: int, last: int) -> Tensor:
    hop, total = codec.encoder.strides[0], header.totals[0]
    context, before = CONTEXT, None
    while True:
        start, stop = max(first // hop - context, 0), min(-(-last // hop) + context, total)
        part = _frames(codec, header, parts, start, stop)[:, first - start * hop : last - start * hop]
        if (start, stop) == (0, total) or (before is not None and float((part - before).abs().max()) <= TOLERANCE):
            return part
        before = part
        context *= 2


def _frames(codec: Codec, header: Header, parts: Parts, start: int, stop: int) -> Tensor:
    """Frames (rows of a grid) of a codec without pieces, as the signal of these alone."""
    scale = None if codec.scaler is None else parts.take(1, 0, 1)[:, 0, 0].to(codec.device)
    with torch.no_grad():
        piece = codec.decode_piece(parts.take(0, start, stop).to(codec.device), scale, parts.sampling)[0]
    hop = codec.encoder.strides[0]
    shape = (min(stop * hop, header.shape[0]) - start * hop, *header.shape[1:])
    return piece[(slice(None), *(slice(n) for n in shape))]


def _pieces(codec: Codec, shape: tuple[int, ...]) -> Pieces:
    boxes = codec.pieces(shape)
    ends = np.cumsum([codec.encoder.frames(extent(box))[-1] for box in boxes]).tolist()
    return Pieces(boxes, list(zip([0, *ends[:-1]], ends, strict=True)))


def _joined(codec: Codec, parts: Parts, pieces: Pieces, begin: int, end: int) -> Tensor:
    """Pieces ``begin`` to ``end`` (exclusive), joined as if there were no others."""
    decoded = []
    for index in range(begin, end):
        scale = None if codec.scaler is None else parts.take(1, index, index + 1)[:, 0, 0].to(codec.device)
        with torch.no_grad():
            values = parts.take(0, *pieces.frames[index]).to(codec.device)
            piece = codec.decode_piece(values, scale, parts.sampling)
        decoded.append(fit(piece, extent(pieces.boxes[index])))
    if codec.segmenter is None:
        raise CodecError("a codec without a segmenter has no pieces to join")
    boxes = pieces.boxes[begin:end]
    offsets = [start for start, _ in _hull(boxes)]
    moved = [tuple((a - o, b - o) for (a, b), o in zip(box, offsets, strict=True)) for box in boxes]
    return codec.segmenter.join(decoded, moved)[0]


def _hull(boxes: Sequence[Box]) -> Box:
    """The smallest box around some."""
    return tuple((min(a for a, _ in axis), max(b for _, b in axis)) for axis in zip(*boxes, strict=True))


def _intact(codec: Codec, header: Header, parts: Parts) -> list[tuple[Box, Tensor]]:
    """Place and signal of everything that intact chunks give."""
    runs = parts.runs(0)
    scales = parts.runs(1) if codec.scaler is not None else [(0, header.shape[0])]
    if codec.segmenter is None:
        if not scales or scales[0][0]:
            raise CodecError("the scale of the signal is lost with the first chunk: nothing can be salvaged")
        hop, across = codec.encoder.strides[0], [(0, n) for n in header.shape[1:]]
        return [
            (((start * hop, min(stop * hop, header.shape[0])), *across), _frames(codec, header, parts, start, stop))
            for start, stop in runs
        ]
    pieces = _pieces(codec, header.shape)
    whole = [
        _inside(frames, runs) and _inside((index, index + 1), scales) for index, frames in enumerate(pieces.frames)
    ]
    # pieces of time overlap and are joined in runs; those of pictures stand alone, since a run of them is no box
    groups = (
        runs_of(np.array(whole)) if len(header.shape) == 1 else [(i, i + 1) for i, good in enumerate(whole) if good]
    )
    return [(_hull(pieces.boxes[a:b]), _joined(codec, parts, pieces, a, b)) for a, b in groups]


def _closed(codec: Codec, header: Header, last: ChunkInfo) -> Header:
    """The header of a file whose end record is lost, as if it ended with its last intact chunk."""
    if not header.is_open:
        return header
    length = _length(codec, header, last.stops[0])
    shape = (length, *header.shape[1:])
    sides = last.stops[1:] if codec.segmenter is None else (len(codec.pieces(shape)),) * len(last.stops[1:])
    lengths = [length, codec.grid(shape)[0], *sides]
    if header.original is not None:
        lengths.insert(1, -(-length * header.original.rate // header.rate) if header.rate else length)
    return header.closed(tuple(lengths))


def _length(codec: Codec, header: Header, frames: int) -> int:
    """Length of the longest signal whose codes are all among the first ``frames`` of the main stream, piece by piece.

    Pieces overlap: where the last one is whole, what only the next would make certain is left out.
    """
    hop = codec.encoder.strides[0]
    if codec.segmenter is None:
        return frames * hop
    shape = (frames * hop, *header.shape[1:])
    boxes, held = _pieces(codec, shape)
    whole = sum(stop <= frames for _, stop in held)
    if whole == len(boxes):
        return shape[0]
    start = boxes[whole][0][0]
    longer = start + (frames - held[whole][0]) * hop
    fits = longer > start and codec.grid((longer, *header.shape[1:]))[-1] == frames
    return longer if fits else start


def _inside(wanted: tuple[int, int], runs: list[tuple[int, int]]) -> bool:
    return any(start <= wanted[0] and wanted[1] <= stop for start, stop in runs)
