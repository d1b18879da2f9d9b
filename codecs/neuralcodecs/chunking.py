"""Codes to the chunks of a file and back, cut where they are cut however they arrive."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from neuralcodecs.bitstream import Chunk, Header, Reader
from neuralcodecs.bitstream.limits import CHUNK_POSITIONS, CHUNK_SYMBOLS
from neuralcodecs.codec import Codec
from neuralcodecs.codes import Codes, Shape, Stream
from neuralcodecs.errors import CodecError
from neuralcodecs.pieces import extent
from neuralcodecs.stream_coder import CHUNK_SECONDS

ALIGNMENT = 64
"""A chunk of codes with side streams, but the last, has a multiple of so many rows, so that theirs end with it."""


class Chunker:
    """Cuts the codes of one signal into chunks of at most ``seconds`` along the main stream's first axis.

    Between pieces where the codec has some. Scales have one position per piece: each chunk carries those of the
    pieces that begin in it. Side streams of the quantizer are cut in proportion to the codes.
    """

    def __init__(self, codec: Codec, seconds: int = CHUNK_SECONDS) -> None:
        self._codec = codec
        self._seconds = seconds
        self._length = 0
        self._starts: list[int] = []
        self._held: list[np.ndarray] = []

    def push(self, codes: Codes, last: bool = False) -> Iterator[Chunk]:
        """The chunks that are complete with these codes, which continue those before; with ``last``, all of them.

        Codes that are not the last must be of full pieces.
        """
        length, *across = codes.shapes[0]
        self._length += length
        new = [stream.values[0].cpu().numpy() for stream in codes]
        self._held = [np.concatenate(both, axis=1) for both in zip(self._held, new, strict=True)] if self._held else new
        self._starts = self._starts or [0] * len(new)
        most = _positions(self._codec, self._held[0], self._seconds)
        ends = self._ends((self._length, *across), last)
        while (waiting := self._held[0].shape[1]) >= most or (last and waiting):
            stop = self._starts[0] + min(most, waiting)
            before = bisect_right(ends, stop)
            if before and ends[before - 1] > self._starts[0]:
                stop = ends[before - 1]
            rest = last and stop == self._starts[0] + waiting
            yield self._cut(stop, len(ends) if rest else 1 + bisect_left(ends, stop), rest)

    def _cut(self, stop: int, pieces: int, rest: bool) -> Chunk:
        """Positions up to ``stop``, in which ``pieces`` pieces have begun; ``rest``: and all that is held."""
        counts = [stop - self._starts[0]]
        for start, values in zip(self._starts[1:], self._held[1:], strict=True):
            whole = start + values.shape[1]
            due = stop * whole // (self._starts[0] + self._held[0].shape[1]) if self._codec.sided else pieces
            counts.append(values.shape[1] if rest else min(due - start, values.shape[1]))
        chunk = Chunk(tuple(self._starts), tuple(v[:, :n] for v, n in zip(self._held, counts, strict=True)))
        self._held = [v[:, n:] for v, n in zip(self._held, counts, strict=True)]
        self._starts = [start + n for start, n in zip(self._starts, counts, strict=True)]
        return chunk

    def _ends(self, shape: Shape, last: bool) -> Sequence[int]:
        """Where each piece ends on the main stream's first axis; others may be cut anywhere.

        Others: the grids of codecs without pieces, and those of several axes, whose pieces are joined along the last.
        """
        encoder, segmenter = self._codec.encoder, self._codec.segmenter
        if segmenter is None or len(encoder.frames(encoder.strides)) > 1:
            return ()
        if not last:
            frames = encoder.frames((segmenter.period()[0],))[0]
            return range(frames, self._starts[0] + self._held[0].shape[1] + 1, frames)
        return np.cumsum([encoder.frames(extent(box))[0] for box in self._codec.pieces(shape)]).tolist()


def chunks_of(codec: Codec, codes: Iterable[Codes], seconds: int = CHUNK_SECONDS) -> Iterator[Chunk]:
    """The chunks of one signal's codes in parts as a stream of ``codec`` gives them, or in one."""
    chunker = Chunker(codec, seconds)
    held = None
    for part in codes:
        if held is not None:
            yield from chunker.push(held)
        held = part  # only when another follows is it known not to be the last
    if held is not None:
        yield from chunker.push(held, last=True)


def codes_of(codec: Codec, reader: Reader) -> Iterator[Codes]:
    """The codes of a file for a decoder stream of ``codec``, about a second at a time, each chunk as it is read.

    Their ``shapes`` add up to the signal's length and never reach beyond what the codes so far describe: the last one
    is of no code, and of the samples that only the end of the file tells in one whose length was unknown at first.
    """
    streams = reader.header.streams
    step = codec.encoder.frames((codec.medium.rate,))[0]
    seen = [0] * len(streams)
    described = 0
    for chunk in reader:
        values = [torch.from_numpy(array)[None].to(codec.device) for array in chunk.values]
        for start in range(0, max(1, values[0].shape[-1]), step):
            parts = [values[0][..., start : start + step], *(v if not start else v[..., :0] for v in values[1:])]
            seen = [n + part.shape[-1] for n, part in zip(seen, parts, strict=True)]
            reach = _reach(codec, reader.header, seen)
            yield _codes(reader.header, parts, reach - described)
            described = reach
    length = reader.header.shape[0]
    if length < described:
        raise CodecError(f"the file ends at sample {length}, its codes reach to {described}: it is forged")
    nothing = [torch.zeros(1, len(s.alphabet), 0, dtype=torch.int64, device=codec.device) for s in streams]
    yield _codes(reader.header, nothing, length - described)


def _codes(header: Header, values: list[torch.Tensor], added: int) -> Codes:
    streams = (Stream(s.name, v, s.alphabet, ((v.shape[-1],),)) for s, v in zip(header.streams, values, strict=True))
    return Codes(tuple(streams), ((added,),))


def _reach(codec: Codec, header: Header, seen: Sequence[int]) -> int:
    """Samples of the signal that the first ``seen`` values of each stream are certain to describe."""
    frames, *sides = seen
    if codec.segmenter is None:
        hop = codec.encoder.strides[0]
        # of an unknown length, the last frame may be the one that is not full
        return max(0, frames - 1) * hop if header.is_open else min(frames * hop, header.shape[0])
    segment, stride = codec.segmenter.period()
    each = codec.encoder.frames((segment,))[0]
    if header.is_open:  # a piece is full when another begins where it ends, or later
        pieces = -(-frames // each) - -(-segment // stride)
    else:
        pieces = min(frames // each, (header.shape[0] - segment) // stride + 1)
    pieces = min(pieces, *sides) if sides else pieces
    return (pieces - 1) * stride + segment if pieces > 0 else 0


def _positions(codec: Codec, values: np.ndarray, seconds: int) -> int:
    """The most positions of the first axis that a chunk may have."""
    rows = max(1, math.prod(values.shape[2:]))
    most = min(CHUNK_POSITIONS // rows, CHUNK_SYMBOLS // (rows * len(values)))
    if most < 1:
        raise CodecError(f"a row of {rows} positions x {len(values)} codebooks does not fit into a chunk: cut it")
    if codec.sided and most > ALIGNMENT:
        most -= most % ALIGNMENT
    if not codec.medium.rate:
        return most
    strides = codec.encoder.strides
    positions = codec.encoder.frames(strides)[0]
    return min(most, max(1, seconds * codec.medium.rate * positions // strides[0]))
