"""What a payload of coarse levels says before its codes: how many levels it has, and how the rest are to be predicted.

LMCodec, https://arxiv.org/abs/2303.12984; docs/entropy.md has the bytes.
"""

import io
from typing import NamedTuple

from neuralcodecs.bitstream.container import Reader
from neuralcodecs.bitstream.limits import CODEBOOKS
from neuralcodecs.bitstream.wire import Source, varint
from neuralcodecs.errors import CodecError

COARSE = 5
"""The number of the coder in a file's header."""
MOST_SEED = 2**32 - 1


class Coarse(NamedTuple):
    """The first ``sent`` levels are in the payload; the others are drawn with ``seed``, None: the likeliest."""

    sent: int
    seed: int | None = None

    def check(self, levels: int) -> None:
        """CodecError unless something is sent and something is left to predict of so many levels."""
        if not 1 <= self.sent < levels:
            raise CodecError(f"{self.sent} coarse of {levels} levels: send 1 to {levels - 1}, the rest is predicted")
        if self.seed is not None and not 0 <= self.seed <= MOST_SEED:
            raise CodecError(f"seed {self.seed} of predicted levels: give a whole number from 0 to 2**32 - 1")

    def encode(self) -> bytes:
        return varint(self.sent) + varint(0 if self.seed is None else self.seed + 1)

    @staticmethod
    def split(data: bytes) -> tuple["Coarse", bytes]:
        """What a payload says, and what follows it: the levels that were sent. Raises CodecError for no integers."""
        source = Source(io.BytesIO(data))
        sent = source.varint("the number of coarse levels", CODEBOOKS)
        seed = source.varint("the seed of predicted levels", MOST_SEED + 1)
        return Coarse(sent, seed - 1 if seed else None), data[source.offset :]


def coarse_of(reader: Reader) -> Coarse | None:
    """What the first chunk with codes says, in a file that can seek; None for a file that has all levels."""
    if reader.header.streams[0].coder != COARSE:
        return None
    first = next((info for info in reader.chunks if info.counts[0]), None)
    return None if first is None else Coarse.split(reader.payloads(first)[0])[0]
