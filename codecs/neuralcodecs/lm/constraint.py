"""Generation of legal tokens only, as transformers' ``generate`` takes it."""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformers import LogitsProcessor

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.lm.grammar import Grammar, Node
from neuralcodecs.lm.vocabulary import Vocabulary


class LegalTokens(LogitsProcessor):  # type: ignore[misc]  # transformers is not type checked here
    """Allows, in each row of a batch, what may follow there; several codecs' processors may be used together.

    After the last begin marker: the sizes of a picture, then codes of the rows that the pattern has next, and the end
    marker where an item is complete. Elsewhere: anything but this codec's codes and its end marker.

    Args:
        vocabulary: of the codec.
        grammar: of the codec.
        units: the only ones that items may have; None: any size of a picture.
    """

    def __init__(self, vocabulary: Vocabulary, grammar: Grammar, units: Iterable[Shape] | None) -> None:
        self.vocabulary = vocabulary
        self.grammar = grammar
        self.units = None if units is None else list(units)
        self._roots: dict[Shape, Node] = {}

    def __call__(self, input_ids: Int64[Tensor, "b n"], scores: Float[Tensor, "b v"]) -> Float[Tensor, "b v"]:
        if scores.shape[1] < self.vocabulary.stop:
            raise CodecError(
                f"the model has {scores.shape[1]} ids, codes go to {self.vocabulary.stop}: call add_to first"
            )
        banned = torch.stack([self._banned(ids, scores.shape[1]) for ids in input_ids.cpu()])
        return scores.masked_fill(banned.to(scores.device), -torch.inf)

    def _banned(self, ids: Tensor, size: int) -> Tensor:
        v = self.vocabulary
        banned = torch.zeros(size, dtype=torch.bool)
        begins, ends = (ids == v.begin).nonzero(), (ids == v.end).nonzero()
        start = int(begins[-1]) + 1 if len(begins) else 0
        if start == 0 or (len(ends) and int(ends[-1]) >= start):
            banned[v.offset : v.stop] = True
            banned[v.end] = True
            return banned
        banned[:] = True
        for first, stop in self._legal(ids[start:]):
            banned[first:stop] = False
        return banned

    def _legal(self, inside: Tensor) -> list[tuple[int, int]]:
        """Ranges of ids that may follow those of a span."""
        v, axes = self.vocabulary, len(self.grammar.codec.encoder.strides)
        sizes = tuple((inside[:axes] - v.offset + 1).tolist()) if self.grammar.sized else ()
        if self.grammar.sized and len(sizes) < axes:
            going = [u[len(sizes)] for u in self.units or () if u[: len(sizes)] == sizes]
            return (
                [(v.offset + n - 1, v.offset + n) for n in going] if self.units else [(v.offset, v.offset + v.largest)]
            )
        if sizes not in self._roots:
            self._roots[sizes] = self.grammar.root([sizes] if self.grammar.sized else self.units or ())
        node = self._roots[sizes]
        for row in v.rows(inside[len(sizes) :]).tolist():
            node = self.grammar.step(node, row)
        starts = v.starts()
        legal = [(starts[row], starts[row + 1]) for row in sorted(node.rows)]
        # an illegal prefix, which only a prompt can have, is ended: decode drops what does not belong
        return [*legal, (v.end, v.end + 1)] if node.complete or not node.rows else legal
