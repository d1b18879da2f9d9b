"""The contract of every codec: encoder, quantizer, decoder, what they exchange, and the codec that composes them.

    signal (b c *space) --Encoder--> latents (b d *grid) --Quantizer--> codes (b q *grid)
    signal (b c *space) <--Decoder-- latents (b d *grid) <--Quantizer-- codes (b q *grid)

Everything else (training, files, evaluation, language models) is written against this page only.
"""

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuralcodecs.codes import Codes, Shape, Stream
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError
from neuralcodecs.medium import Medium


class Encoder(Configured, nn.Module, ABC):
    """Signal to latents.

    Declares, once for the whole codec: ``channels`` of the signal, ``dim`` of the latents and ``strides``,
    the samples (or pixels) per grid position along each axis.
    """

    channels: int
    dim: int
    strides: Shape

    @abstractmethod
    def forward(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b d *grid"]: ...

    @abstractmethod
    def frames(self, shape: Shape) -> Shape:
        """Grid shape of a signal of ``shape`` (its axes after batch and channels); owned here because padding is."""


class Quantized(NamedTuple):
    """What a quantizer returns in training: everything that the losses, the decoder and the logs need."""

    latents: Float[Tensor, "b d *grid"]
    """Quantized latents; their gradient reaches the encoder's latents unchanged (straight-through)."""
    codes: Int64[Tensor, "b q *grid"]
    losses: dict[str, Tensor]
    """Scalar losses by name, for example ``commitment``; the task weighs and sums them."""
    statistics: dict[str, Tensor]
    """Detached figures per codebook, each ``(q,)``: ``usage``, ``perplexity``, ``entropy`` (bits), ``replaced``."""


class Quantizer(Configured, nn.Module, ABC):
    """Latents to integers and back.

    ``dim``: channels of the latents. ``codebook_sizes``: alphabet size of each codebook. ``levels``: the numbers of
    codebooks that the codec is meant to run at, ascending, the last one being the default (a bitrate each).
    """

    dim: int
    codebook_sizes: Shape
    levels: Shape

    @abstractmethod
    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized: ...

    @abstractmethod
    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]: ...

    @abstractmethod
    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        """Latents of codes; ``q`` may be any number of levels up to all of them."""

    def update(self) -> None:
        """Apply what training forwards have gathered (codebook statistics); called once per optimizer step.

        A collective call under DDP. Quantizers that learn by gradient alone have nothing to do.
        """

    def discard(self) -> None:
        """Forget what training forwards have gathered since the last update: their step was skipped."""


class Decoder(Configured, nn.Module, ABC):
    """Latents to signal. The output may be longer than the signal by less than one stride; the codec cuts it."""

    @abstractmethod
    def forward(self, latents: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b c *space"]: ...


class Segmenter(Configured, ABC):
    """Cuts a signal into the pieces that the encoder sees one by one, and joins the decoded pieces."""

    @abstractmethod
    def split(self, shape: Shape) -> list[tuple[int, int]]:
        """Start and stop of each piece along the last axis of a signal of ``shape``."""

    @abstractmethod
    def join(self, pieces: list[Float[Tensor, "b c *space"]]) -> Float[Tensor, "b c *space"]: ...


class Scaler(Configured, ABC):
    """Measures the loudness by which a piece is divided before the encoder and multiplied after the decoder."""

    @abstractmethod
    def __call__(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, " b"]: ...


QuantizerFactory = Callable[[int], Quantizer]
DecoderFactory = Callable[[int, int, tuple[int, ...]], Decoder]

SCALE_ALPHABET = 2**32  # a scale travels as the bit pattern of its float32


class Codec(Configured, nn.Module):
    """An encoder, a quantizer and a decoder for one medium.

    Args:
        medium: what the signals are (audio at a sample rate, images): reads and writes files, names the rate's unit.
        encoder: declares channels, dim and strides for all parts.
        quantizer: called with ``dim``.
        decoder: called with ``dim, channels, strides``.
        segmenter: cuts long signals into pieces that are coded independently; None codes a signal whole.
        scaler: divides each piece by a scale that travels as a side stream; None leaves the signal alone.
    """

    made_by_codec = {"quantizer": ("dim",), "decoder": ("dim", "channels", "strides")}

    def __init__(
        self,
        medium: Medium,
        encoder: Encoder,
        quantizer: QuantizerFactory,
        decoder: DecoderFactory,
        segmenter: Segmenter | None = None,
        scaler: Scaler | None = None,
    ) -> None:
        super().__init__()
        if encoder.channels != medium.channels:
            raise CodecError(
                f"encoder takes {encoder.channels} channels, medium has {medium.channels}: make them equal"
            )
        self.medium = medium
        self.encoder = encoder
        self.quantizer = quantizer(encoder.dim)
        self.decoder = decoder(encoder.dim, encoder.channels, encoder.strides)
        self.segmenter = segmenter
        self.scaler = scaler

    def forward(
        self, signal: Float[Tensor, "b c *space"], levels: int | None = None
    ) -> tuple[Float[Tensor, "b c *space"], Quantized]:
        """The training path: reconstruct one piece, as long as the signal, and say how it was quantized."""
        scale = self._scale(signal)
        quantized = self.quantizer(self.encoder(signal / scale), levels)
        return self._fit(self.decoder(quantized.latents), signal.shape[2:]) * scale, quantized

    @torch.no_grad()
    def encode(
        self, signal: Float[Tensor, "b c *space"], levels: int | None = None, shapes: Sequence[Shape] | None = None
    ) -> Codes:
        """Codes of a batch; ``shapes`` gives the true shape of each item of a padded batch.

        Items never see another item's padding: only those of one shape are coded together, on the CPU none. There the
        codes of a batch are the codes of its items one by one; on other devices they are but for near ties, which the
        rounding of a batch may decide otherwise.
        """
        true_shapes = [tuple(s) for s in shapes] if shapes is not None else [tuple(signal.shape[2:])] * len(signal)
        levels = self.check_levels(levels)
        groups: dict[Shape, list[int]] = defaultdict(list)
        for index, shape in enumerate(true_shapes):
            groups[shape].append(index)
        items: list[Codes | None] = [None] * len(true_shapes)
        for shape, group in groups.items():
            for members in self._together(group):
                batch = self._encode_equal(self._fit(signal[members], shape), levels)
                for index, item in zip(members, batch.items(), strict=True):
                    items[index] = item
        return Codes.batch([item for item in items if item is not None])

    @torch.no_grad()
    def decode(self, codes: Codes) -> Float[Tensor, "b c *space"]:
        """Signals of codes, each exactly as long as the one that went in, padded with zeros to the longest."""
        groups: dict[Shape, list[int]] = defaultdict(list)
        for index, shape in enumerate(codes.shapes):
            groups[shape].append(index)
        largest = tuple(max(axis) for axis in zip(*codes.shapes, strict=True))
        output: Tensor | None = None
        for shape, group in groups.items():
            for members in self._together(group):
                signal = self._decode_equal(Codes.batch([codes.item(i) for i in members]), shape)
                if output is None:
                    output = signal.new_zeros((len(codes.shapes), self.encoder.channels, *largest))
                for index, item in zip(members, signal, strict=True):
                    self._fit(output[index], shape).copy_(item)
        if output is None:
            raise CodecError("no items to decode: the batch is empty")
        return output

    def bits(self, codes: Codes) -> Float[Tensor, " b"]:
        """Nominal bits of each item: the sum of log2(alphabet size) over all codes of all streams (float64)."""
        per_item = [
            sum(math.prod(stream.grids[i]) * math.log2(size) for stream in codes for size in stream.alphabet)
            for i in range(len(codes.shapes))
        ]
        return torch.tensor(per_item, dtype=torch.float64)

    def check_levels(self, levels: int | None) -> int:
        """The number of levels to use; raises CodecError when the quantizer has fewer."""
        available = len(self.quantizer.codebook_sizes)
        if levels is None:
            return self.quantizer.levels[-1]
        if not 1 <= levels <= available:
            raise CodecError(f"{levels} levels asked for, this codec has 1 to {available}")
        return levels

    def grid(self, shape: Shape) -> Shape:
        """Shape of the main stream's grid for a signal of ``shape``: the frames of all its pieces, end to end."""
        *rest, _ = self.encoder.frames(shape)
        return (*rest, sum(self.grid_of_piece(shape, start, stop) for start, stop in self.pieces(shape)))

    @property
    def device(self) -> torch.device:
        """Where its weights are; signals and codes must be there too."""
        return next(self.parameters()).device

    def pieces(self, shape: Shape) -> list[tuple[int, int]]:
        """Start and stop, along the last axis, of the pieces that a signal of ``shape`` is coded in."""
        return [(0, shape[-1])] if self.segmenter is None else self.segmenter.split(shape)

    def grid_of_piece(self, shape: Shape, start: int, stop: int) -> int:
        """Frames of one piece along the grid's last axis."""
        return self.encoder.frames((*shape[:-1], stop - start))[-1]

    def config(self) -> dict[str, Any]:
        """Class paths and arguments from which an equal codec (but for its weights) can be built: plain YAML data."""
        return self.describe()

    def save_pretrained(self, directory: str | Path) -> None:
        """Write ``config.yaml``, ``model.safetensors`` and the model card ``README.md``."""
        from neuralcodecs.pretrained import save

        save(self, Path(directory))

    @classmethod
    def from_pretrained(
        cls, source: str | Path, trust: bool = False, revision: str | None = None, token: str | bool | None = None
    ) -> "Codec":
        """Load a folder, a checkpoint, a known name or a hub id; ``trust`` allows classes from outside this package."""
        from neuralcodecs.pretrained import load

        return load(source, trust, revision, token)

    def push_to_hub(
        self, repo_id: str, private: bool | None = None, token: str | None = None, message: str = "Push codec"
    ) -> str:
        """Upload what ``save_pretrained`` writes to ``owner/name``, made if needed; returns the commit's address."""
        from neuralcodecs.hub import push

        return push(self, repo_id, private, token, message)

    def decode_piece(
        self, codes: Int64[Tensor, "b q *grid"], scale: Int64[Tensor, " b"] | None
    ) -> Float[Tensor, "b c *space"]:
        """One piece, or some frames of it, decoded by itself and not cut; ``scale``: its entry of the side stream."""
        piece = self.decoder(self.quantizer.decode(codes))
        if scale is None:
            return piece
        factor = (scale - (scale >> 31 << 32)).int().view(torch.float32).to(piece)
        return piece * factor.view(-1, *(1,) * (piece.ndim - 1))

    def _together(self, members: list[int]) -> list[list[int]]:
        """Which items of one shape run as one batch.

        None on the CPU: oneDNN rounds a batch differently (EnCodec 24 kHz, 8 x 2 s at 32 levels: 87 % of the latents
        and 76 of 38400 codes differed) and was no faster (1.5 s against 0.9 s one by one, one thread).
        """
        return [[member] for member in members] if self.device.type == "cpu" else [members]

    def _scale(self, signal: Tensor) -> Tensor:
        if self.scaler is None:
            return signal.new_ones((len(signal), *(1,) * (signal.ndim - 1)))
        return self.scaler(signal).view(-1, *(1,) * (signal.ndim - 1))

    @staticmethod
    def _fit(signal: Tensor, shape: Sequence[int]) -> Tensor:
        region: tuple[Any, ...] = (..., *(slice(n) for n in shape))
        return signal[region]

    def _encode_equal(self, signal: Tensor, levels: int) -> Codes:
        shape = tuple(signal.shape[2:])
        if math.prod(shape) == 0:
            raise CodecError(f"a signal of shape {shape} is empty: nothing to encode")
        codes, scales = [], []
        for start, stop in self.pieces(shape):
            piece = signal[..., start:stop]
            scale = self._scale(piece)
            codes.append(self.quantizer.encode(self.encoder(piece / scale), levels))
            scales.append(scale.flatten())
        values = torch.cat(codes, dim=-1)
        batch = len(signal)
        streams = [Stream("codes", values, self.quantizer.codebook_sizes[:levels], (tuple(values.shape[2:]),) * batch)]
        if self.scaler is not None:
            pattern = torch.stack(scales, dim=-1).float().view(torch.int32).long() & (SCALE_ALPHABET - 1)
            streams.append(Stream("scale", pattern[:, None], (SCALE_ALPHABET,), ((len(scales),),) * batch))
        return Codes(tuple(streams), (shape,) * batch)

    def _decode_equal(self, codes: Codes, shape: Shape) -> Tensor:
        values = codes["codes"]
        if tuple(values.shape[2:]) != self.grid(shape):
            raise CodecError(f"codes of grid {tuple(values.shape[2:])} do not fit a signal of shape {shape}")
        pieces, position = [], 0
        for index, (start, stop) in enumerate(self.pieces(shape)):
            frames = self.grid_of_piece(shape, start, stop)
            scale = None if self.scaler is None else codes["scale"][:, 0, index]
            piece = self.decode_piece(values[..., position : position + frames], scale)
            position += frames
            pieces.append(piece)
        return self._fit(pieces[0] if self.segmenter is None else self.segmenter.join(pieces), shape)
