"""Bounds on what a file may ask for, checked before any memory is taken."""

from typing import NamedTuple

# fixed by the format: no valid version 1 file exceeds one of these
AXES = 3
NAME_BYTES = 32
CODERS = 2**8
LARGEST_RATE = 2**24
METADATA_BYTES = 2**16
METADATA_DEPTH = 8
HEADER_BYTES = 2**17
CHUNK_POSITIONS = 2**16
CHUNK_SYMBOLS = 2**22
# what an entropy coder may take for a symbol, and once per stream and chunk for its final state
SYMBOL_BYTES = 8
CODER_BYTES = 64

# chosen by the writer and the reader: raised with Limits(...)
DURATION = 24 * 3600
PIXELS = 2**26
CHANNELS = 64
STREAMS = 16
CODEBOOKS = 2**10
CHUNKS = 2**16
SYMBOLS = 2**28

# what Reader.read_all may return: 512 MiB of int64
SYMBOLS_AT_ONCE = 2**26


class Limits(NamedTuple):
    """What one file may hold. A larger one is refused with a CodecError that names the field to raise.

    ``duration``: seconds, where the rate is not 0. ``pixels``: of one picture. ``channels``: of the signal.
    ``streams``: of the file. ``codebooks``, ``symbols``: of all streams together. ``chunks``: of the file.
    """

    duration: int = DURATION
    pixels: int = PIXELS
    channels: int = CHANNELS
    streams: int = STREAMS
    codebooks: int = CODEBOOKS
    chunks: int = CHUNKS
    symbols: int = SYMBOLS


DEFAULT_LIMITS = Limits()
