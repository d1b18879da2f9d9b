"""Streams of codecs with a segmenter: pieces are coded as soon as they are complete (EnCodec 48 kHz, arXiv 2210.13438).

The codes of a piece are those of the same piece offline, whatever the network does inside it, so nothing here asks
whether the encoder can be streamed.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.codes import Codes, Shape, Stream
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.streamed import State
from neuralcodecs.pieces import Box, Segmenter, crop, extent
from neuralcodecs.streams import DecoderStream, EncoderStream, joined_codes

Alphabets = dict[str, Shape]


class PieceEncoderStream(EncoderStream):
    """Piece by piece.

    Args:
        encode: one piece.
        segmenter: with a period.
        nothing: a signal ``(1, c, 0)``, of the codec's channels, type and device.
        alphabets: of the codes and side streams, by name.
    """

    def __init__(
        self, encode: Callable[[Tensor], Codes], segmenter: Segmenter, nothing: Tensor, alphabets: Alphabets
    ) -> None:
        self.encode, self.segmenter, self.nothing, self.alphabets = encode, segmenter, nothing, alphabets

    def start(self, batch: int = 1) -> State:
        return State((self.nothing.expand(batch, -1, -1),), (0,))

    def advance(self, chunk: Float[Tensor, "b c t"], state: State, last: bool) -> tuple[Codes, State]:
        """The state is the signal from the start of the next piece on, and how far codes have described that."""
        (signal,), (described,) = state.tensors, state.phase
        signal = torch.cat([signal, chunk], dim=-1)
        boxes = certain_boxes(self.segmenter, signal.shape[-1], last)
        codes = joined_codes([self._empty(signal), *(self.encode(crop(signal, box)) for box in boxes)])
        reach = signal.shape[-1] if last else max([described, *(stop for ((_, stop),) in boxes)])
        done = self.segmenter.period()[1] * len(boxes)
        codes = Codes(codes.streams, ((reach - described,),) * len(signal))
        return codes, State((signal[..., done:],), (max(0, reach - done),))

    def _empty(self, signal: Tensor) -> Codes:
        """So that codes have all streams even when no piece is complete."""
        rows = len(signal)
        streams = tuple(
            Stream(
                name, torch.zeros(rows, len(sizes), 0, dtype=torch.int64, device=signal.device), sizes, ((0,),) * rows
            )
            for name, sizes in self.alphabets.items()
        )
        return Codes(streams, ((0,),) * rows)


class PieceDecoderStream(DecoderStream):
    """Piece by piece.

    Args:
        decode: one piece.
        segmenter: with a period.
        nothing: a signal ``(1, c, 0)``, of the codec's channels, type and device.
        alphabets: of the codes and side streams, by name.
        frames: of a piece of so many samples.
    """

    def __init__(
        self,
        decode: Callable[[Codes], Tensor],
        segmenter: Segmenter,
        nothing: Tensor,
        alphabets: Alphabets,
        frames: Callable[[Shape], Shape],
    ) -> None:
        self.decode, self.segmenter, self.nothing = decode, segmenter, nothing
        self.alphabets, self.frames = alphabets, frames

    def start(self, batch: int = 1) -> State:
        return State((self.nothing.expand(batch, -1, -1),), (0,))

    def advance(
        self, codes: Codes | None, added: int, state: State, last: bool
    ) -> tuple[Float[Tensor, "b c t"], State]:
        """The state is the decoded pieces that overlap the next, the codes from that on, and how far they reach."""
        segment, stride = self.segmenter.period()
        earlier = list(state.tensors[0].split(segment, dim=-1)) if state.tensors[0].shape[-1] else []
        values = list(state.tensors[1:])
        if codes is not None:
            new = [stream.values for stream in codes]
            values = [torch.cat(both, dim=-1) for both in zip(values, new, strict=True)] if values else new
        reach = state.phase[0] + added
        boxes = certain_boxes(self.segmenter, reach, last)
        pieces = list(earlier)
        for box in boxes:
            piece, values = self._take(values, extent(box))
            pieces.append(self.decode(piece))
        signal = state.tensors[0][..., :0]
        if boxes:
            places: list[Box] = [((i * stride, i * stride + p.shape[-1]),) for i, p in enumerate(pieces)]
            begin, done = len(earlier) * stride, len(boxes) * stride
            signal = self.segmenter.join(pieces, places)[..., begin : begin + (reach if last else done)]
            reach = max(0, reach - done)
        overlapping = pieces[max(0, len(pieces) - (-(-segment // stride) - 1)) :]
        kept = torch.cat([state.tensors[0][..., :0], *overlapping], dim=-1)
        return signal, State((kept, *values), (reach,))

    def _take(self, values: list[Tensor], shape: Shape) -> tuple[Codes, list[Tensor]]:
        """The codes of the next piece, whose signal has that shape, and what follows them."""
        (frames,), rows = self.frames(shape), len(values[0]) if values else 0
        if not values or values[0].shape[-1] < frames:
            raise CodecError(f"codes end before the piece of {shape[0]} samples that they are said to reach over")
        counts = [frames, *(1 for _ in values[1:])]  # of each side stream, a value per piece
        streams = tuple(
            Stream(name, v[..., :n], sizes[: v.shape[1]], ((n,),) * rows)
            for (name, sizes), v, n in zip(self.alphabets.items(), values, counts, strict=True)
        )
        return Codes(streams, (shape,) * rows), [v[..., n:] for v, n in zip(values, counts, strict=True)]


def certain_boxes(segmenter: Segmenter, length: int, last: bool) -> list[Box]:
    """Of a signal that has ``length`` positions so far: the boxes that it will have however it goes on."""
    if not length:
        return []
    boxes = segmenter.split((length,))
    return boxes if last else [box for box in boxes if extent(box) == (segmenter.period()[0],)]
