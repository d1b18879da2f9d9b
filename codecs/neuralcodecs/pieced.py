"""The part of a codec that codes signals of one shape piece by piece, in all of its streams.

signal --pieces--> encoder --> latents --Quantizer.encode_streams--> codes and side streams, joined over the pieces
"""

import copy
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from neuralcodecs.codes import FREE, Codes, Layout, Shape, Stream
from neuralcodecs.errors import CodecError
from neuralcodecs.pieces import SCALE_ALPHABET, Box, crop, extent, fit, joined, scale_of, scale_stream
from neuralcodecs.sampling import NO_SAMPLING, Sampling

if TYPE_CHECKING:  # the codec itself imports this module
    import neuralcodecs.codec

MAIN = "codes"
SCALE = "scale"


class Pieced:
    """The part of a codec that codes signals of one shape, and what that depends on."""

    def check_levels(self: "neuralcodecs.codec.Codec", levels: int | None) -> int:  # type: ignore[misc]
        """The number of levels to use; raises CodecError when the quantizer has fewer."""
        available = self.quantizer.most_levels
        if levels is None:
            return self.quantizer.levels[-1]
        if not 1 <= levels <= available:
            raise CodecError(f"{levels} levels asked for, this codec has 1 to {available}")
        return levels

    @property
    def device(self: "neuralcodecs.codec.Codec") -> torch.device:  # type: ignore[misc]
        """Where its weights are; signals and codes must be there too."""
        return next(self.parameters()).device

    @property
    def dtype(self: "neuralcodecs.codec.Codec") -> torch.dtype:  # type: ignore[misc]
        """Of the networks' weights; signals must have it too."""
        return next(itertools.chain(self.decoder.parameters(), self.parameters())).dtype

    @property
    def sided(self: "neuralcodecs.codec.Codec") -> bool:  # type: ignore[misc]
        """Whether the quantizer has side streams: such codes are decoded whole, since they are not local."""
        return bool(self.quantizer.side_streams(self.encoder.frames(self.encoder.strides)))

    def _scale(self: "neuralcodecs.codec.Codec", signal: Tensor) -> Tensor:  # type: ignore[misc]
        scale = signal.new_ones(len(signal)) if self.scaler is None else self.scaler(signal)
        return scale.view(-1, *(1,) * (signal.ndim - 1))

    def with_networks(  # type: ignore[misc]
        self: "neuralcodecs.codec.Codec", encoder: "neuralcodecs.codec.Encoder", decoder: "neuralcodecs.codec.Decoder"
    ) -> "neuralcodecs.codec.Codec":
        """The codec with these in the place of its own; all else is shared."""
        view = copy.copy(self)
        view._modules = dict(self._modules)
        view.encoder, view.decoder = encoder, decoder
        return view

    def pieces(self: "neuralcodecs.codec.Codec", shape: Shape) -> list[Box]:  # type: ignore[misc]
        """The boxes that a signal of ``shape`` is coded in, in the order of their codes."""
        return [tuple((0, n) for n in shape)] if self.segmenter is None else self.segmenter.split(shape)

    def grid(self: "neuralcodecs.codec.Codec", shape: Shape) -> Shape:  # type: ignore[misc]
        """Shape of the main stream's grid for a signal of ``shape``: the grids of its pieces, joined on the last axis.

        Raises CodecError when they differ in another axis.
        """
        return joined(_grids(self, shape))

    def layouts(self: "neuralcodecs.codec.Codec", shape: Shape, levels: int) -> tuple[Layout, ...]:  # type: ignore[misc]
        """Every stream that a signal of ``shape`` has at so many levels, in the order of files."""
        grids = _grids(self, shape)
        main = Layout(MAIN, self.quantizer.alphabet(levels), joined(grids))
        sides = zip(*(self.quantizer.side_streams(grid) for grid in grids), strict=True)
        joint = tuple(Layout(s[0].name, s[0].alphabet, _joint([part.grid for part in s])) for s in sides)
        scale = () if self.scaler is None else (Layout(SCALE, (SCALE_ALPHABET,), (len(grids),)),)
        return (main, *joint, *scale)

    def dequantize(self: "neuralcodecs.codec.Codec", *streams: Tensor) -> Tensor:  # type: ignore[misc]
        """What the decoder is given; quantizers themselves compute in float32 at least, whatever the networks do."""
        return self.quantizer.decode_streams(streams).to(self.dtype)

    def decode_piece(  # type: ignore[misc]
        self: "neuralcodecs.codec.Codec",
        codes: Int64[Tensor, "b q *grid"],
        scale: Int64[Tensor, " b"] | None,
        sampling: Sampling = NO_SAMPLING,
        sides: Sequence[Tensor] = (),
    ) -> Float[Tensor, "b c *space"]:
        """One piece, or some frames of it, decoded by itself and not cut.

        ``scale``: its entry of that side stream. ``sides``: its parts of the quantizer's side streams.
        """
        piece = self.decoder.decode(self.dequantize(codes, *sides), sampling)
        return piece if scale is None else piece * scale_of(scale, piece)

    def _encode_equal(self: "neuralcodecs.codec.Codec", signal: Tensor, levels: int) -> Codes:  # type: ignore[misc]
        shape = tuple(signal.shape[2:])
        if math.prod(shape) == 0:
            raise CodecError(f"a signal of shape {shape} is empty: nothing to encode")
        layouts = self.layouts(shape, levels)  # refuses pieces whose codes could not be joined, before any is encoded
        parts, scales = [], []
        for box in self.pieces(shape):
            piece = crop(signal, box)
            scale = self._scale(piece)
            parts.append(self.quantizer.encode_streams(self.encoder(piece / scale), levels))
            scales.append(scale.flatten())
        streams = [
            Stream(layout.name, values, layout.alphabet, (tuple(values.shape[2:]),) * len(signal))
            for layout, values in zip(layouts, (torch.cat(p, dim=-1) for p in zip(*parts, strict=True)), strict=False)
        ]
        if self.scaler is not None:
            streams.append(scale_stream(scales))
        return Codes(tuple(streams), (shape,) * len(signal))

    def _decode_equal(  # type: ignore[misc]
        self: "neuralcodecs.codec.Codec", codes: Codes, shape: Shape, sampling: Sampling
    ) -> Tensor:
        names = [layout.name for layout in self.layouts(shape, self.quantizer.levels[-1])]
        values = [codes[name] for name in names if name != SCALE]
        if tuple(values[0].shape[2:]) != self.grid(shape):
            raise CodecError(f"codes of grid {tuple(values[0].shape[2:])} do not fit a signal of shape {shape}")
        boxes, pieces, positions = self.pieces(shape), [], [0] * len(values)
        for index, grid in enumerate(_grids(self, shape)):
            lasts = [grid[-1], *(side.grid[-1] for side in self.quantizer.side_streams(grid))]
            ends = [p if n == FREE else p + n for p, n in zip(positions, lasts, strict=True)]
            parts = zip(values, positions, ends, lasts, strict=True)
            main, *sides = (v if n == FREE else v[..., p:e] for v, p, e, n in parts)  # a text is told to every piece
            positions = ends
            scale = None if self.scaler is None else codes[SCALE][:, 0, index]
            pieces.append(self.decode_piece(main, scale, sampling, sides))
        return fit(pieces[0] if self.segmenter is None else self.segmenter.join(pieces, boxes), shape)


def _joint(grids: Sequence[Shape]) -> Shape:
    return grids[0] if FREE in grids[0] else joined(grids)


def _grids(codec: "neuralcodecs.codec.Codec", shape: Shape) -> list[Shape]:
    return [codec.encoder.frames(extent(box)) for box in codec.pieces(shape)]
