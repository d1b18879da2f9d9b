"""The contract of every codec: encoder, quantizer, decoder, what they exchange, and the codec that composes them.

    signal (b c *space) --Encoder--> latents (b d *grid) --Quantizer--> codes (b q *grid)
    signal (b c *space) <--Decoder-- latents (b d *grid) <--Quantizer-- codes (b q *grid)

Everything else (training, files, evaluation, language models) is written against this page only.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuralcodecs.codes import Codes, Layout, Shape, together
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.streamed import Streamed
from neuralcodecs.medium import Medium
from neuralcodecs.pieced import Pieced
from neuralcodecs.pieces import Scaler, Segmenter, fit, stack_padded
from neuralcodecs.published import Published
from neuralcodecs.sampling import NO_SAMPLING, Sampled, Sampling
from neuralcodecs.stream_coder import StreamCoders
from neuralcodecs.streaming import Streams


class Encoder(Configured, Streamed, ABC):
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


Distortion = Callable[[Tensor], Tensor]
"""255^2 times the squared error per pixel, summed over all pixels, of what quantized latents decode to."""


class Quantizer(Configured, nn.Module, ABC):
    """Latents to integers and back.

    ``dim``: channels of the latents. ``codebook_sizes``: alphabet size of each codebook. ``levels``: the numbers of
    codebooks that the codec is meant to run at, ascending, the last one being the default (a bitrate each).

    Besides its codes it may have side streams, with grids of their own; then ``encode_streams`` and ``decode_streams``
    are what the codec calls. Levels may be something else than codebooks (step sizes), of ``most_levels`` kinds.
    """

    dim: int
    codebook_sizes: Shape
    levels: Shape
    longest_caption: int = 0
    """Bytes of the longest caption that its codes may carry (``captions``); 0: none."""

    @abstractmethod
    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized: ...

    @abstractmethod
    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]: ...

    @abstractmethod
    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        """Latents of codes; ``q`` may be any number of levels up to all of them."""

    @property
    def most_levels(self) -> int:
        return len(self.codebook_sizes)

    def alphabet(self, levels: int) -> Shape:
        """Alphabet sizes of the codes at so many levels."""
        return self.codebook_sizes[:levels]

    def side_streams(self, grid: Shape) -> tuple[Layout, ...]:
        """The streams that travel with codes of ``grid``; the names are its own, neither ``codes`` nor ``scale``."""
        return ()

    def encode_streams(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> tuple[Tensor, ...]:
        """The codes, and the values int64 ``(b, rows, *grid)`` of each side stream."""
        return (self.encode(latents, levels),)

    def decode_streams(self, streams: tuple[Tensor, ...]) -> Float[Tensor, "b d *grid"]:
        """Latents of what ``encode_streams`` gave."""
        return self.decode(streams[0])

    def refine(
        self, latents: Float[Tensor, "b d *grid"], distortion: Distortion, steps: int, levels: int | None = None
    ) -> tuple[Tensor, ...]:
        """What ``encode_streams`` gives, of latents moved in so many steps to cost less; not all quantizers can."""
        raise CodecError(f"latents of {type(self).__name__} are not refined: encode without --refine")

    def widen(self, paths: int) -> None:
        """Encode from now on by a beam search of so many paths, for the same decoders; not all quantizers have one."""
        raise CodecError(f"{type(self).__name__} has no beam search: encode without --beam")

    def tell(self, latents: Float[Tensor, "b d *grid"], captions: Sequence[bytes]) -> Float[Tensor, "b d *grid"]:
        """Quantized latents as if their codes had these captions, which most quantizers do not take."""
        return latents

    def coders(self) -> StreamCoders:
        """Coders of streams that are part of it, by the stream's name; all others have those of a prior, or none."""
        return {}

    @property
    def settled(self) -> bool:
        """Whether training forwards of one shape and number of levels launch the same work from now on."""
        return True

    def update(self) -> None:
        """Apply what training forwards have gathered (codebook statistics); called once per optimizer step.

        A collective call under DDP. Quantizers that learn by gradient alone have nothing to do.
        """

    def discard(self) -> None:
        """Forget what training forwards have gathered since the last update: their step was skipped."""


class Decoder(Configured, Sampled, Streamed, ABC):
    """Latents to signal. The output may be longer than the signal by less than one stride; the codec cuts it.

    Generative ones fill in ``Sampled`` too: what ``decode`` gives then depends on seed, steps and guidance.
    """

    @abstractmethod
    def forward(self, latents: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b c *space"]: ...


QuantizerFactory = Callable[[int], Quantizer]
DecoderFactory = Callable[[int, int, tuple[int, ...]], Decoder]


class Codec(Published, Streams, Pieced, Configured, nn.Module):
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
            raise CodecError(f"encoder takes {encoder.channels} channels, medium has {medium.channels}: make equal")
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
        return fit(self.decoder(quantized.latents), signal.shape[2:]) * scale, quantized

    def analyse(
        self, signal: Float[Tensor, "b c *space"], levels: int | None = None, captions: Sequence[bytes] = ()
    ) -> tuple[Float[Tensor, "b c *space"], Quantized]:
        """The training path without the decoder: what that is to make, and how it was quantized."""
        scaled = signal / self._scale(signal)
        quantized = self.quantizer(self.encoder(scaled), levels)
        told = self.quantizer.tell(quantized.latents, captions) if captions else quantized.latents
        return scaled, quantized._replace(latents=told)

    @torch.no_grad()
    def encode(
        self, signal: Float[Tensor, "b c *space"], levels: int | None = None, shapes: Sequence[Shape] | None = None
    ) -> Codes:
        """Codes of a batch; ``shapes`` gives the true shape of each item of a padded batch.

        Items never see another item's padding: only those of one shape are coded together, on the CPU none. There the
        codes of a batch are the codes of its items one by one; on other devices they are but for near ties, which the
        rounding of a batch may decide otherwise.
        """
        shapes = [tuple(shape) for shape in shapes or [signal.shape[2:]] * len(signal)]
        levels = self.check_levels(levels)
        items: dict[int, Codes] = {}
        for shape, members in together(shapes, self.device):
            if len(members) == len(signal):
                return self._encode_equal(fit(signal, shape), levels)
            batch = self._encode_equal(fit(signal[members], shape), levels)
            items |= zip(members, batch.items(), strict=True)
        return Codes.batch([items[i] for i in range(len(items))])

    @torch.no_grad()
    def decode(self, codes: Codes, sampling: Sampling = NO_SAMPLING) -> Float[Tensor, "b c *space"]:
        """Signals of codes, each exactly as long as the one that went in, padded with zeros to the longest.

        ``sampling`` goes before what a generative decoder's codes say of it; CodecError for a deterministic decoder.
        """
        if not codes.shapes:
            raise CodecError("no items to decode: the batch is empty")
        signals: dict[int, Tensor] = {}
        ways = [self.decoder.choose(sampling, said) for said in codes.samplings]
        for (shape, way), members in together(zip(codes.shapes, ways, strict=True), self.device):
            if len(members) == len(ways):
                return self._decode_equal(codes, shape, way)
            batch = self._decode_equal(Codes.batch([codes.item(i) for i in members]), shape, way)
            signals |= zip(members, batch, strict=True)
        return stack_padded([signals[i] for i in range(len(signals))])

    def bits(self, codes: Codes) -> Float[Tensor, " b"]:
        """Nominal bits of each item: the sum of log2(alphabet size) over all codes of all streams (float64)."""
        return codes.nominal_bits()
