"""Codes of one grid to bytes and back by a masked prior: group after group; what the receiver has is not sent."""

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from neuralcodecs.bitstream.range_coder import RangeDecoder, RangeEncoder
from neuralcodecs.codes import Shape
from neuralcodecs.priors.integer_masked import IntegerMasked


class MaskedCoder:
    """Within a group the order is position (row-major), codebook.

    ``known``: positions of the flattened grid that both sides have; ``cond``: rows of codes that both sides have.

    Args:
        prior: on whatever device it is.
    """

    def __init__(self, prior: IntegerMasked) -> None:
        self.prior = prior

    def encode(
        self,
        codes: Int64[Tensor, "q *grid"],
        cond: Int64[Tensor, "c *grid"] | None = None,
        known: Bool[Tensor, " n"] | None = None,
    ) -> bytes:
        """Raises CodecError for codes outside the alphabet."""
        encoder = RangeEncoder()
        encoder.encode_intervals(*self.ends(codes, cond, known))
        return encoder.finish()

    def decode(
        self,
        data: bytes,
        levels: int,
        grid: Shape,
        cond: Int64[Tensor, "c *grid"] | None = None,
        known: Bool[Tensor, " n"] | None = None,
        codes: Int64[Tensor, "q *grid"] | None = None,
    ) -> Int64[Tensor, "q *grid"]:
        """``codes``: what is known, anything elsewhere. Raises CodecError for payloads that ``encode`` never writes."""
        device = self.prior.device
        found = torch.zeros(1, levels, *grid, dtype=torch.int64) if codes is None else codes[None].cpu().clone()
        decoder = RangeDecoder(data)
        state = self.prior.start(found.to(device), None if cond is None else cond[None].to(device), known)
        flat = found.view(1, levels, -1)
        while state.number < len(state.groups):
            group = state.group
            tables = self.prior.tables(state).cpu().numpy()
            symbols = torch.from_numpy(decoder.decode_rows(tables.reshape(-1, tables.shape[-1])))
            flat[0, :, group] = symbols.view(-1, levels).T
            self.prior.tell(state, flat[..., group].to(device))
        decoder.finish()
        return found[0]

    def ends(
        self,
        codes: Int64[Tensor, "q *grid"],
        cond: Int64[Tensor, "c *grid"] | None = None,
        known: Bool[Tensor, " n"] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of the intervals of the codes that are sent, in the order of the payload."""
        device = self.prior.device
        tables = self.prior.teacher_forced(
            codes[None].to(device), None if cond is None else cond[None].to(device), known
        )[0]
        symbols = codes.flatten(1).T.unsqueeze(-1).to(device)
        groups = self.prior.groups(tuple(codes.shape[1:]), known)
        order = torch.cat(groups) if groups else torch.zeros(0, dtype=torch.int64)
        lower, upper = (tables.gather(-1, symbols + k).squeeze(-1).cpu()[order].flatten().numpy() for k in (0, 1))
        return lower, upper
