"""Codes of one grid to bytes and back by a masked prior: group after group; what the receiver has is not sent.

Grids of more than 2048 positions are cut along their first axis; the parts follow one another in one payload.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from neuralcodecs.bitstream.range_coder import RangeDecoder, RangeEncoder, ideal_bits
from neuralcodecs.codes import Shape
from neuralcodecs.priors.grid import rows_together
from neuralcodecs.priors.integer_masked import IntegerMasked
from neuralcodecs.stream_coder import StreamCoder

MASKED = 4


class MaskedCoder:
    """Within a group the order is position (row-major), codebook.

    ``known``: positions of the grid that both sides have; ``cond``: rows of codes that both sides have.

    Args:
        prior: on whatever device it is.
    """

    def __init__(self, prior: IntegerMasked) -> None:
        self.prior = prior

    def encode(
        self,
        codes: Int64[Tensor, "q *grid"],
        cond: Int64[Tensor, "c *grid"] | None = None,
        known: Bool[Tensor, "*grid"] | None = None,
    ) -> bytes:
        """Raises CodecError for codes outside the alphabet."""
        encoder = RangeEncoder()
        for ends in self._ends(codes, cond, known):
            encoder.encode_intervals(*ends)
        return encoder.finish()

    def decode(
        self,
        data: bytes,
        levels: int,
        grid: Shape,
        cond: Int64[Tensor, "c *grid"] | None = None,
        known: Bool[Tensor, "*grid"] | None = None,
        codes: Int64[Tensor, "q *grid"] | None = None,
    ) -> Int64[Tensor, "q *grid"]:
        """``codes``: what is known, anything elsewhere. Raises CodecError for payloads that ``encode`` never writes."""
        found = torch.zeros(levels, *grid, dtype=torch.int64) if codes is None else codes.cpu().clone()
        decoder = RangeDecoder(data)
        for part, own_cond, own_known in _parts(found, cond, known):
            self._decode(decoder, part, own_cond, own_known)
        decoder.finish()
        return found

    def bits(self, codes: Int64[Tensor, "q *grid"]) -> float:
        """What the codes take at least: the sum of -log2 of their probabilities."""
        return sum(ideal_bits(*ends) for ends in self._ends(codes, None, None))

    def _decode(self, decoder: RangeDecoder, part: Tensor, cond: Tensor | None, known: Tensor | None) -> None:
        """Fill in what is not known of ``part (q, *grid)``."""
        device, levels = self.prior.device, len(part)
        state = self.prior.start(part[None].to(device), None if cond is None else cond[None].to(device), known)
        places = torch.arange(part[0].numel()).view(part.shape[1:])
        while state.number < len(state.groups):
            tables = self.prior.tables(state).cpu().numpy()
            symbols = torch.from_numpy(decoder.decode_rows(tables.reshape(-1, tables.shape[-1]))).view(-1, levels).T
            part[:, torch.isin(places, state.group)] = symbols
            self.prior.tell(state, symbols[None].to(device))

    def _ends(self, codes: Tensor, cond: Tensor | None, known: Tensor | None) -> Iterator[list[np.ndarray]]:
        """Of each part lower and upper ends of the intervals that are sent, in the order of the payload."""
        device = self.prior.device
        for part, own_cond, own_known in _parts(codes, cond, known):
            given = None if own_cond is None else own_cond[None].to(device)
            tables = self.prior.teacher_forced(part[None].to(device), given, own_known)[0]
            symbols = part.flatten(1).T.unsqueeze(-1).to(device)
            groups = self.prior.groups(tuple(part.shape[1:]), own_known)
            order = torch.cat([torch.zeros(0, dtype=torch.int64), *groups])
            yield [tables.gather(-1, symbols + k).squeeze(-1).cpu()[order].flatten().numpy() for k in (0, 1)]


class MaskedPriorCoder(StreamCoder):
    """A masked prior as the coder of a codec's main stream, so that files may be written with it.

    Args:
        prior: of the codec's codebooks, without conditions (``MaskedTransformer.export``).
    """

    number = MASKED
    chunk_seconds = 60

    def __init__(self, prior: IntegerMasked) -> None:
        super().__init__()
        self.prior = prior
        self.alphabet = prior.alphabet

    def encode(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> bytes:
        return MaskedCoder(self.prior).encode(values)

    def decode(self, data: bytes, levels: int, grid: Shape, given: Mapping[str, Tensor]) -> Int64[Tensor, "q *grid"]:
        return MaskedCoder(self.prior).decode(data, levels, grid)

    def bits(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> float:
        return MaskedCoder(self.prior).bits(values)


def _parts(
    codes: Tensor, cond: Tensor | None, known: Tensor | None
) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
    """Views of the codes ``(q, *grid)``, conditions and flattened known positions that are coded together."""
    rows = rows_together(tuple(codes.shape[1:]))
    for first in range(0, codes.shape[1], rows):
        part = slice(first, first + rows)
        yield (
            codes[:, part],
            None if cond is None else cond[:, part],
            None if known is None else known[part].flatten(),
        )
