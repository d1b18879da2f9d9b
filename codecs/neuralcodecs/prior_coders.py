"""Priors as coders of a codec's main stream: static tables, counts of what came before, trained networks.

Alphabets that are too large for a table are split into digits, each a codebook of its own for the prior.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from neuralcodecs.bitstream.alphabets import digits_of, join, join_within, split
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.fill import fill_lanes
from neuralcodecs.priors.counted import AdaptivePrior, StaticPrior
from neuralcodecs.priors.prior import TokenPrior
from neuralcodecs.stream_coder import FINGERPRINT_BYTES, StreamCoder
from neuralcodecs.token_coder import LaneCoder, StaticCoder, TokenCoder

STATIC, ADAPTIVE, LEARNED = 1, 2, 3
Join = Callable[[np.ndarray, int], np.ndarray]


class PriorCoder(StreamCoder):
    """Flattens the grid, splits large alphabets into digits, and codes the rows with a ``TokenCoder``.

    ``alphabet``: of the codebooks of the stream, as of the codec's quantizer.
    """

    alphabet: Shape

    @abstractmethod
    def coder(self) -> TokenCoder: ...

    @abstractmethod
    def digits(self) -> tuple[Shape, ...]:
        """The alphabets that each codebook is coded as."""

    def encode(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> bytes:
        return self.coder().encode(self.rows(values))

    def decode(self, data: bytes, levels: int, grid: Shape, given: Mapping[str, Tensor]) -> Int64[Tensor, "q *grid"]:
        rows = self.coder().decode(data, self.width(levels), int(np.prod(grid)))
        return self.whole(rows, levels, grid, join)

    def bits(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> float:
        return self.coder().bits(self.rows(values))

    def rows(self, values: Int64[Tensor, "q *grid"]) -> Int64[Tensor, "k n"]:
        """The digits of all codebooks, the grid flattened: what a prior is trained on."""
        digits = self._of(len(values))
        flat = values.flatten(1).cpu()
        alphabet = self.alphabet[: len(digits)]
        return torch.cat(
            [
                row[None] if len(sizes) == 1 else torch.from_numpy(split(row.numpy(), size).T)
                for row, sizes, size in zip(flat, digits, alphabet, strict=True)
            ]
        )

    def width(self, levels: int) -> int:
        """Rows of digits of so many codebooks."""
        return sum(map(len, self._of(levels)))

    def whole(self, rows: Int64[Tensor, "k n"], levels: int, grid: Shape, join_: Join) -> Int64[Tensor, "q *grid"]:
        """The values of rows of digits; ``join_``: of the digits of one codebook."""
        parts = rows.split([len(sizes) for sizes in self._of(levels)])
        alphabet = self.alphabet[:levels]
        whole = [
            part[0] if len(part) == 1 else torch.from_numpy(join_(part.numpy().T, size))
            for part, size in zip(parts, alphabet, strict=True)
        ]
        return torch.stack(whole).view(levels, *grid)

    def _of(self, levels: int) -> tuple[Shape, ...]:
        if not 1 <= levels <= len(self.alphabet):
            raise CodecError(f"{levels} levels: this prior knows 1 to {len(self.alphabet)}")
        return self.digits()[:levels]


class StaticPriorCoder(PriorCoder):
    """One table a codebook, of up to 2**18 symbols: as many bits as its order-0 entropy, at any chunk length.

    Args:
        prior: counted on a training set (``StaticPrior.count``).
    """

    number = STATIC

    def __init__(self, prior: StaticPrior) -> None:
        super().__init__()
        self.prior = prior
        self.alphabet = prior.alphabet

    def coder(self) -> TokenCoder:
        return StaticCoder(self.prior.tables)

    def digits(self) -> tuple[Shape, ...]:
        return tuple((size,) for size in self.alphabet)


class AdaptivePriorCoder(PriorCoder):
    """Counts of what was coded before in the same chunk: nothing to train and nothing in the model's folder.

    Args:
        alphabet: of the codebooks; those of more than 4096 symbols are split into digits that are counted apart.
        increment: as of ``AdaptivePrior``.
    """

    number = ADAPTIVE
    chunk_seconds = 60

    def __init__(self, alphabet: Shape, increment: int = 32) -> None:
        super().__init__()
        self.alphabet = tuple(alphabet)
        self.prior = AdaptivePrior(_flat(self.digits()), increment)

    def coder(self) -> TokenCoder:
        return LaneCoder(self.prior, 1)  # a lane more would have to learn the counts again

    def digits(self) -> tuple[Shape, ...]:
        return tuple(map(digits_of, self.alphabet))

    @property
    def fingerprint(self) -> bytes:
        facts = f"adaptive {self.prior.increment} {self.prior.alphabet}"
        return hashlib.sha256(facts.encode()).digest()[:FINGERPRINT_BYTES]


class LearnedPriorCoder(PriorCoder):
    """An exported network; chunks of up to a minute are cut into lanes that are decoded side by side.

    Args:
        prior: an integer prior (``TokenTransformer.export``) of the digits of the codebooks.
        alphabet: of the codebooks of the stream.
    """

    number = LEARNED
    chunk_seconds = 60
    predicts = True

    def __init__(self, prior: TokenPrior, alphabet: Shape) -> None:
        super().__init__()
        self.alphabet = tuple(alphabet)
        self.prior = prior
        if prior.alphabet != _flat(self.digits()):
            raise CodecError(f"a prior of alphabets {prior.alphabet} for codes of {_flat(self.digits())}: retrain it")
        if prior.conditions:
            raise CodecError(f"a prior with conditions {prior.conditions}: files have no stream for them")

    def coder(self) -> TokenCoder:
        return LaneCoder(self.prior)

    def predict(self, values: Int64[Tensor, "k *grid"], levels: int, seed: int | None) -> Int64[Tensor, "q *grid"]:
        rows = fill_lanes(self.prior, self.rows(values), self.width(levels), seed)
        return self.whole(rows, levels, tuple(values.shape[1:]), join_within)

    def digits(self) -> tuple[Shape, ...]:
        return tuple(map(digits_of, self.alphabet))


def _flat(digits: Sequence[Shape]) -> Shape:
    return tuple(size for sizes in digits for size in sizes)
