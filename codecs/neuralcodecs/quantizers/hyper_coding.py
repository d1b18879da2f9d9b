"""The coders of a hyperprior's files: its own tables, chosen by exact integers, on the range coder.

z: the table of each channel.    codes: part after part of the context model, in each those of one table together
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from neuralcodecs.bitstream.range_coder import RangeDecoder, RangeEncoder, ideal_bits, intervals
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.conditional import SYMBOLS
from neuralcodecs.quantizers.contexts import Part, Visit
from neuralcodecs.quantizers.factorised import FactorisedPrior
from neuralcodecs.stream_coder import StreamCoder

HALF = SYMBOLS // 2
Z = "z"


@runtime_checkable
class Contextual(Protocol):
    """What a coder of latents needs of their quantizer, in methods: Python 3.12 does not see the parts of modules."""

    def latent_tables(self) -> Int32[Tensor, "scales w"]:
        """The tables of the parts, by their indices."""

    def context_of(self, like: Tensor, z: Int64[Tensor, "b z i j"], visit: Visit) -> Tensor: ...


class SideCoder(StreamCoder):
    """The side stream, each channel by its own table.

    Args:
        prior: whose tables they are.
    """

    number = 16

    def __init__(self, prior: FactorisedPrior) -> None:
        super().__init__()
        self.alphabet = (prior.size,) * len(prior.tables)
        self.prior = prior

    def encode(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> bytes:
        encoder = RangeEncoder()
        for row, table in zip(values.flatten(1).cpu().numpy(), self._tables(), strict=True):
            encoder.encode(row, table)
        return encoder.finish()

    def decode(self, data: bytes, levels: int, grid: Shape, given: Mapping[str, Tensor]) -> Int64[Tensor, "q *grid"]:
        decoder = RangeDecoder(data)
        rows = [decoder.decode(int(np.prod(grid)), table) for table in self._tables()]
        decoder.finish()
        return torch.from_numpy(np.stack(rows)).view(levels, *grid)

    def bits(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> float:
        rows = zip(values.flatten(1).cpu().numpy(), self._tables(), strict=True)
        return sum(_cost(row, table) for row, table in rows)

    def _tables(self) -> np.ndarray:
        return self.prior.tables.cpu().numpy()


class LatentCoder(StreamCoder):
    """The main stream, given the side stream. A chunk of rows is coded as a picture of its own.

    Args:
        quantizer: whose context model it runs.
        alphabet: of its codes.
    """

    number = 17

    def __init__(self, quantizer: Contextual, alphabet: Shape) -> None:
        super().__init__()
        self.alphabet = alphabet
        self.quantizer = quantizer

    def encode(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> bytes:
        encoder = RangeEncoder()
        self._run(values, given, lambda symbols, table: encoder.encode(symbols, table))
        return encoder.finish()

    def decode(self, data: bytes, levels: int, grid: Shape, given: Mapping[str, Tensor]) -> Int64[Tensor, "q *grid"]:
        decoder, tables = RangeDecoder(data), self._tables()
        codes = torch.full((1, levels, *grid), HALF, dtype=torch.int64, device=tables.device)
        plain = tables.cpu().numpy()

        def visit(part: Part, means: Tensor, index: Tensor) -> Tensor:
            own = codes[:, part.first : part.last]
            for number, there in _groups(part, index):
                own[there] = torch.from_numpy(decoder.decode(int(there.sum()), plain[number])).to(own)
            return (own - HALF + means) * part.mask

        self.quantizer.context_of(codes, _side(given, codes), visit)
        decoder.finish()
        return codes[0].cpu()

    def bits(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> float:
        spent: list[float] = []
        self._run(values, given, lambda symbols, table: spent.append(_cost(symbols, table)))
        return sum(spent)

    def _run(self, values: Tensor, given: Mapping[str, Tensor], use: Callable[[np.ndarray, np.ndarray], None]) -> None:
        """``use`` the symbols of each table of each part, in order."""
        tables = self._tables()
        codes = values[None].to(tables.device)
        self.quantizer.context_of(codes, _side(given, codes), partial(_told, codes, tables.cpu().numpy(), use))

    def _tables(self) -> Tensor:
        return self.quantizer.latent_tables()


def _told(
    codes: Tensor,
    tables: np.ndarray,
    use: Callable[[np.ndarray, np.ndarray], None],
    part: Part,
    means: Tensor,
    index: Tensor,
) -> Tensor:
    own = codes[:, part.first : part.last]
    for number, there in _groups(part, index):
        use(own[there].cpu().numpy(), tables[number])
    return (own - HALF + means) * part.mask


def _groups(part: Part, index: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The tables that the positions of a part have, ascending, and where each is."""
    for number in index[:, :, part.mask].unique().tolist():
        yield int(number), (index == number) & part.mask


def _side(given: Mapping[str, Tensor], codes: Tensor) -> Int64[Tensor, "1 z i j"]:
    if Z not in given:
        raise CodecError("codes of a hyperprior without their side stream z: the file is forged")
    z = given[Z][None].to(codes.device)
    coarse = tuple(-(-n // 4) for n in codes.shape[2:])
    if tuple(z.shape[2:]) != coarse:
        raise CodecError(
            f"a side stream of {tuple(z.shape[2:])} for codes of {tuple(codes.shape[2:])}: it is forged, or the codec "
            "has a segmenter, which a hyperprior cannot have"
        )
    return z


def _cost(symbols: np.ndarray, table: np.ndarray) -> float:
    return ideal_bits(*intervals(symbols, np.broadcast_to(table, (len(symbols), len(table)))))
