"""Bytes of a codec's file: bit packing and the .ncs container. No torch in here."""

from neuralcodecs.bitstream.chunks import Chunk, ChunkInfo, split
from neuralcodecs.bitstream.container import Reader, Writer, write
from neuralcodecs.bitstream.header import FINGERPRINT_BYTES, UNKNOWN, Header, Original, StreamSpec
from neuralcodecs.bitstream.limits import Limits
from neuralcodecs.bitstream.packing import pack, unpack
from neuralcodecs.bitstream.payloads import Coders, PayloadCoder
from neuralcodecs.bitstream.salvage import Damage, Salvaged

__all__ = [
    "FINGERPRINT_BYTES",
    "UNKNOWN",
    "Chunk",
    "ChunkInfo",
    "Coders",
    "Damage",
    "Header",
    "Limits",
    "Original",
    "PayloadCoder",
    "Reader",
    "Salvaged",
    "StreamSpec",
    "Writer",
    "pack",
    "split",
    "unpack",
    "write",
]
