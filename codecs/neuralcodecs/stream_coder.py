"""The contract of what codes one stream of a file: a chunk's values to bytes and back, given its other streams.

    side streams --fixed width, or their coders--> bytes         in the header's order
    codes        --its coder, given all side streams--> bytes    last

A codec's quantizer may bring coders of its streams (a hyperprior); a prior is such a coder that is attached to a codec
(``prior_coders``). Where a stream has none its symbols are packed at fixed width.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError

FINGERPRINT_BYTES = 8
CHUNK_SECONDS = 10
"""Of a file, unless a coder asks for longer chunks: each chunk can be decoded alone."""


class StreamCoder(Configured, nn.Module, ABC):
    """Codes the values of one stream in one chunk.

    ``number``: of the payload's format in the header of a file, 1 to 255: 1 static, 2 adaptive, 3 learned priors; 16
    and up for codecs that bring their own. ``alphabet``: of all rows that the stream may have. ``chunk_seconds``: of
    signal that it wants a chunk to have. ``predicts``: whether ``predict`` is there.

    ``given``: values ``(q, *grid)`` of the streams of the same chunk that the receiver has before, by name.
    All results are equal on every machine: probabilities are integers made by exact operations (``priors``).
    """

    number: int
    alphabet: Shape
    chunk_seconds: int = CHUNK_SECONDS
    predicts: bool = False
    _hashed: tuple[list[tuple[str, int, int]], list[Tensor], bytes] | None = None

    @abstractmethod
    def encode(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> bytes:
        """Raises CodecError for values that it cannot code. There is at least one position."""

    @abstractmethod
    def decode(self, data: bytes, levels: int, grid: Shape, given: Mapping[str, Tensor]) -> Int64[Tensor, "q *grid"]:
        """The ``levels`` rows of a range of ``grid``; CodecError for a payload that ``encode`` writes for no values.

        The sizes come from a file and have been bounded (2**16 positions, 2**22 symbols); the payload is whatever its
        forger wanted: nothing in it may decide how much memory is taken.
        """

    @abstractmethod
    def bits(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> float:
        """Entropy bits: the sum of -log2 of the probabilities that ``encode`` codes these values with."""

    def predict(self, values: Int64[Tensor, "k *grid"], levels: int, seed: int | None) -> Int64[Tensor, "q *grid"]:
        """The first ``levels`` rows of which ``values`` are the first ones; the same on every machine.

        ``seed``: of draws, 0 to 2**32 - 1; None takes the likeliest. Raises CodecError where it cannot predict.
        """
        raise CodecError(f"{type(self).__name__} predicts no levels: that takes an autoregressive learned prior")

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that name the tables or weights; by default of all integers in the state, in order of their names.

        Hashing takes as long as decoding a second of a file, and is done anew only where the state is another.
        """
        state = sorted(self.state_dict().items())
        now = [(name, value.data_ptr(), value._version) for name, value in state]
        if self._hashed is None or self._hashed[0] != now:
            # with the tensors, so that no other ones can come to lie where they are
            self._hashed = now, [value for _, value in state], self._hash(state)
        return self._hashed[2]

    def _hash(self, state: Sequence[tuple[str, Tensor]]) -> bytes:
        digest = hashlib.sha256(f"{type(self).__name__} {self.number}".encode())
        for name, value in state:
            whole = value.detach().to("cpu", torch.float64).contiguous()
            digest.update(f"{name} {tuple(whole.shape)}".encode() + whole.numpy().astype("<f8").tobytes())
        return digest.digest()[:FINGERPRINT_BYTES]


StreamCoders = Mapping[str, StreamCoder]
"""By the name of the stream."""
