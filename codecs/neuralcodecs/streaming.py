"""Streaming for every codec: its streams, its latency, and signals of any length in constant memory.

The contract of streams, and how they are used, is ``neuralcodecs.streams``.
"""

import copy
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from jaxtyping import Float
from torch import Tensor

from neuralcodecs.codes import Codes, Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.streamed import Streamed
from neuralcodecs.pieces import SCALE_ALPHABET
from neuralcodecs.piecewise import Alphabets, PieceDecoderStream, PieceEncoderStream
from neuralcodecs.sampling import NO_SAMPLING, Sampling
from neuralcodecs.streams import DecoderStream, EncoderStream, FrameDecoderStream, FrameEncoderStream

if TYPE_CHECKING:  # the codec itself imports this module
    import neuralcodecs.codec

STEADY = 2**20
"""A position so late that the padding of the start is forgotten."""


class Latency(NamedTuple):
    """Samples that a stream waits for, whatever the chunks.

    A sample comes out of the decoder when ``encoder + decoder`` samples from itself on have gone into the encoder, or
    fewer; at the start of a signal, when ``start`` have.
    """

    encoder: int
    """From the first sample of a frame until its codes: the frame itself and what is looked ahead."""
    decoder: int
    """Codes of so many samples beyond those of a sample's own frame, at most, are needed to decode it."""
    start: int
    """From the first sample of the signal until it can be decoded; more than the others where padding reflects."""

    @staticmethod
    def of(encoder: Streamed, decoder: Streamed, hop: int) -> "Latency":
        """From what the layers say; raises CodecError where they cannot be streamed."""
        ahead = max(decoder.reach(STEADY * hop + i) * hop - (STEADY * hop + i) for i in range(hop))
        first = encoder.reach(decoder.reach(0)) + 1
        return Latency(encoder.reach(STEADY) + 1 - STEADY * hop, max(0, ahead), first)


class Streams:
    """The part of a codec that gives its streams."""

    def encoder_stream(self: "neuralcodecs.codec.Codec", levels: int | None = None) -> EncoderStream:  # type: ignore[misc]
        """Codes of signals that arrive in chunks; raises CodecError when they cannot be those of the whole signal."""
        levels = self.check_levels(levels)
        alphabet = self.quantizer.alphabet(levels)
        _check(self)
        if self.segmenter is None:
            (hop,) = self.encoder.strides
            quantize = partial(self.quantizer.encode, levels=levels)
            return FrameEncoderStream(self.encoder, self.encoder.channels, quantize, alphabet, hop)
        encode = partial(_whole(self).encode, levels=levels)
        return PieceEncoderStream(encode, self.segmenter, _nothing(self), _alphabets(self, alphabet))

    def decoder_stream(self: "neuralcodecs.codec.Codec", sampling: Sampling = NO_SAMPLING) -> DecoderStream:  # type: ignore[misc]
        """Signals of codes that arrive in chunks; raises CodecError when they cannot be those of all codes.

        ``sampling``: of a generative decoder, whose codes in chunks say nothing of it.
        """
        _check(self)
        if self.segmenter is None:
            return FrameDecoderStream(self.decoder, self.encoder.dim, self.encoder.channels, self.dequantize)
        sizes = self.quantizer.codebook_sizes
        return PieceDecoderStream(
            partial(_whole(self).decode, sampling=sampling),
            self.segmenter,
            _nothing(self),
            _alphabets(self, sizes),
            self.encoder.frames,
        )

    @property
    def latency(self: "neuralcodecs.codec.Codec") -> Latency:  # type: ignore[misc]
        """What its streams wait for; raises CodecError when it cannot be streamed."""
        _check(self)
        if self.segmenter is None:
            return Latency.of(self.encoder, self.decoder, self.encoder.strides[0])
        segment, _ = self.segmenter.period()
        return Latency(segment, 0, segment)


def _check(codec: "neuralcodecs.codec.Codec") -> None:
    if len(codec.encoder.strides) != 1:
        raise CodecError(f"signals of {len(codec.encoder.strides)} axes are not streamed: encode and decode them whole")
    if codec.sided:
        raise CodecError("codes with side streams are not streamed: encode and decode them whole")
    if codec.segmenter is not None:
        codec.segmenter.period()
        return
    if codec.scaler is not None:
        raise CodecError(
            "the scale is that of the whole signal, so nothing can be coded before its end: add a segmenter"
        )
    Latency.of(codec.encoder, codec.decoder, codec.encoder.strides[0])


def _whole(codec: "neuralcodecs.codec.Codec") -> "neuralcodecs.codec.Codec":
    """The same codec, by which a piece is coded as a whole signal."""
    codec = copy.copy(codec)
    codec.segmenter = None
    return codec


def _nothing(codec: "neuralcodecs.codec.Codec") -> Float[Tensor, "1 c 0"]:
    return next(codec.parameters()).new_zeros(1, codec.encoder.channels, 0)


def _alphabets(codec: "neuralcodecs.codec.Codec", sizes: Shape) -> Alphabets:
    return {"codes": sizes} | ({} if codec.scaler is None else {"scale": (SCALE_ALPHABET,)})


def encode_blocks(stream: EncoderStream, blocks: Iterable[Float[Tensor, "c _"]], step: int = 2**16) -> Iterator[Codes]:
    """Codes of one signal in blocks of any size, as soon as they are known; memory does not grow with its length.

    ``step``: samples that are encoded at a time, however large the blocks are.
    """
    state = stream.start()
    for block in blocks:
        for chunk in block[None].split(step, dim=-1):
            codes, state = stream.push(chunk, state)
            if codes["codes"].shape[-1]:
                yield codes
    codes, _ = stream.flush(state)
    if codes["codes"].shape[-1] or codes.shapes[0][0]:
        yield codes


def decode_blocks(stream: DecoderStream, chunks: Iterable[Codes]) -> Iterator[Float[Tensor, "c _"]]:
    """The signal of the codes of one signal, in blocks; as large as what they decode to."""
    state = stream.start()
    for codes in chunks:
        signal, state = stream.push(codes, state)
        if signal.shape[-1]:
            yield signal[0]
    signal, _ = stream.flush(state)
    if signal.shape[-1]:
        yield signal[0]
