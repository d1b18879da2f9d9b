"""Signals of any length to .ncs files or pipes and back in constant memory: ``files`` joined to ``streaming``."""

import math
from collections.abc import Iterator
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from neuralcodecs.atomic import Outgoing
from neuralcodecs.bitstream import UNKNOWN, Header, Reader, StreamSpec
from neuralcodecs.bitstream.container import Writer
from neuralcodecs.bitstream.metadata import Metadata
from neuralcodecs.chunking import chunks_of, codes_of
from neuralcodecs.codec import Codec
from neuralcodecs.codes import Codes
from neuralcodecs.coding import Coding
from neuralcodecs.errors import CodecError
from neuralcodecs.files import Report, admit, check_header, header_for, original_of
from neuralcodecs.medium import Blocks, SignalInfo
from neuralcodecs.pretrained import fingerprint
from neuralcodecs.sampling import NO_SAMPLING, Sampling
from neuralcodecs.streaming import decode_blocks, encode_blocks

WHOLE_SECONDS = 30
"""Files up to here are coded whole: faster, and several in one batch."""


def can_stream(codec: Codec) -> bool:
    """Whether its signals need not be in memory whole."""
    try:
        codec.encoder_stream()
        codec.decoder_stream()
    except CodecError:
        return False
    return codec.medium.rate > 0


def is_long(codec: Codec, samples: int) -> bool:
    """Whether a signal of so many samples should be streamed by a codec that can."""
    return samples > WHOLE_SECONDS * codec.medium.rate


def encode_stream(
    codec: Codec,
    blocks: Blocks,
    file: Outgoing,
    levels: int | None = None,
    identity: bytes | None = None,
    metadata: Metadata | None = None,
    coding: Coding | None = None,
) -> Report:
    """Write the codes of a signal chunk by chunk as it comes.

    The bytes are those that ``write_codes`` writes for the same codes. A signal of unknown length gives an open file,
    unless it ends before its first chunk is full: the header is written with that.
    Raises CodecError for a codec that cannot be streamed. ``identity``: its fingerprint.
    ``coding``: with which prior; None: the best that the codec has.
    """
    coding = coding or Coding(codec)
    levels = codec.check_levels(levels)
    identity = identity or fingerprint(codec)
    writer: Writer | None = None
    codes = encode_blocks(codec.encoder_stream(levels), (block.to(codec.device) for block in blocks))
    for chunk in chunks_of(codec, codes, coding.chunk_seconds):
        if writer is None:
            streams = _streams(codec, levels, blocks.shape[0])
            header = header_for(codec, blocks.shape, streams, blocks.original, identity, metadata)
            writer = Writer(file, coding.header(header), coders=coding.payloads)
        writer.append(chunk)
        file.flush()
    if writer is None:
        raise CodecError("a signal without samples: nothing to encode")
    header = writer.finish(blocks.shape[0], blocks.original.shape[0])
    file.flush()
    return report_of(codec, header, writer.size)


class Decoding:
    """The signal of a file, decoded as its chunks are read; the reader's file may be a pipe.

    Args:
        codec: one that can be streamed.
        reader: at the beginning of the file.
        source: what errors call the file.
        keep_rate: the ``original`` has the codec's rate and length.
        identity: the codec's fingerprint.
        sampling: goes before what the file says of a generative decoder's.

    Raises:
        CodecError: made by another model, or not what this model writes; a sampling for a deterministic decoder; while
            iterating, damaged.
    """

    def __init__(
        self,
        codec: Codec,
        reader: Reader,
        source: Path,
        keep_rate: bool = False,
        identity: bytes | None = None,
        sampling: Sampling = NO_SAMPLING,
    ) -> None:
        admit(codec, reader, source, identity or fingerprint(codec))
        check_header(codec, reader.header, source)
        self._codec, self._reader, self._source, self._keep_rate = codec, reader, source, keep_rate
        self._sampling = codec.decoder.choose(sampling, codec.decoder.said(reader.header.metadata))

    @property
    def shape(self) -> tuple[int, ...]:
        return self._reader.header.shape

    @property
    def original(self) -> SignalInfo:
        original = original_of(self._reader.header)
        return SignalInfo(self._codec.medium.rate, original.channels, self.shape) if self._keep_rate else original

    def __iter__(self) -> Iterator[Float[Tensor, "c t"]]:
        for signal in decode_blocks(self._codec.decoder_stream(self._sampling), self._codes()):
            yield signal.cpu()

    def _codes(self) -> Iterator[Codes]:
        """The last of them are of the samples that, maybe, only the end record tells: it is checked before they go."""
        codes = codes_of(self._codec, self._reader)
        held = next(codes)
        for following in codes:
            yield held
            held = following
        check_header(self._codec, self._reader.header, self._source)
        yield held


def report_of(codec: Codec, header: Header, size: int) -> Report:
    """What a file of ``size`` bytes with this header cost."""
    bits = sum(math.prod(stream.grid) * math.log2(n) for stream in header.streams for n in stream.alphabet)
    nominal, written = (codec.medium.bitrate(count, header.shape) for count in (bits, 8.0 * size))
    return Report(size, nominal, written, codec.medium.unit)


def _streams(codec: Codec, levels: int, length: int) -> tuple[StreamSpec, ...]:
    if length != UNKNOWN:
        return tuple(StreamSpec(*layout) for layout in codec.layouts((length,), levels))
    return tuple(StreamSpec(n, sizes, (UNKNOWN,)) for n, sizes, _ in codec.layouts(codec.encoder.strides, levels))
