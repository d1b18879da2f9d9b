"""Where the codes of a codec are among the ids of a language model: two named markers and a block without names."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError

BLOCKS = "neuralcodecs_blocks"
"""Key in the text tokenizer's ``init_kwargs``, saved with it: ``{name: [first id, id after the last]}``."""
ROOM = 64
"""Ids between the text and the first block: a tokenizer numbers new tokens from its length, and the markers of codecs
that are added later, or text tokens, must not get the ids of codes."""
MULTIPLE = 64
"""The embeddings' rows are made a multiple of this: matrix products of such sizes are faster."""


@runtime_checkable
class TextTokenizer(Protocol):
    """The part of a Hugging Face tokenizer that is used here."""

    init_kwargs: dict[str, Any]
    pad_token_id: int | None

    def __len__(self) -> int: ...
    def add_tokens(self, new_tokens: list[str], special_tokens: bool = False) -> int: ...
    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]: ...


@runtime_checkable
class LanguageModel(Protocol):
    """The part of a Hugging Face model that is used here."""

    def get_input_embeddings(self) -> nn.Embedding: ...
    def resize_token_embeddings(
        self, new_num_tokens: int, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Module: ...


@dataclass(frozen=True)
class Vocabulary:
    """Ids of one codec in one language model.

    The block from ``offset`` holds ``largest`` ids for the size of a picture (0 for audio), then ``alphabet[k]`` ids
    for the codes of each row k. ``begin``, ``end``: ids of the markers, outside the block. ``pad``: fills up batches.
    """

    alphabet: Shape
    largest: int
    offset: int
    begin: int
    end: int
    pad: int

    @property
    def stop(self) -> int:
        """The id after the last of the block."""
        return self.offset + block_size(self.alphabet, self.largest)

    def starts(self) -> list[int]:
        """The first id of each row, then ``stop``."""
        return [self.offset + block_size(self.alphabet[:k], self.largest) for k in range(len(self.alphabet) + 1)]

    def ids(self, rows: Int64[Tensor, " n"], codes: Int64[Tensor, " n"]) -> list[int]:
        """The ids of codes of rows."""
        return (torch.tensor(self.starts())[rows] + codes).tolist()

    def rows(self, ids: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
        """The row of each id; negative for a size, or for an id that is none of a code."""
        rows = torch.bucketize(ids, torch.tensor(self.starts()), right=True) - 1
        return rows.masked_fill(ids >= self.stop, -1)


def block_size(alphabet: Shape, largest: int) -> int:
    """How many ids a block has."""
    return largest + sum(alphabet)


def reserve(
    name: str, size: int, markers: tuple[str, str], tokenizer: TextTokenizer, model: LanguageModel | None
) -> tuple[int, int, int]:
    """Add the markers, set a block of ``size`` ids aside under ``name``, and make the model's embeddings large enough.

    Returns the block's first id and the ids of the markers. The same again changes nothing. Raises CodecError when the
    name has a block of another size, or the room before the blocks is used up.
    """
    blocks: dict[str, list[int]] = tokenizer.init_kwargs.setdefault(BLOCKS, {})
    start, stop = blocks.get(name, (0, size))
    if stop - start != size:
        raise CodecError(f"{name!r} has a block of {stop - start} ids here, this codec needs {size}: give another name")
    tokenizer.add_tokens(list(markers), special_tokens=True)
    if name not in blocks:
        rows = 0 if model is None else model.get_input_embeddings().weight.shape[0]
        taken = [block[1] for block in blocks.values()]
        start = max(taken) if taken else max(len(tokenizer) + ROOM, rows)
        blocks[name] = [start, start + size]
    start, stop = blocks[name]
    first = min(start for start, _ in blocks.values())
    if len(tokenizer) > first:
        raise CodecError(f"the tokenizer has {len(tokenizer)} tokens, codes start at id {first}: add fewer tokens")
    if model is not None and model.get_input_embeddings().weight.shape[0] < stop:
        # the mean of old rows as a start took 595 s for 65,000 new ones and changed nothing
        model.resize_token_embeddings(stop, pad_to_multiple_of=MULTIPLE, mean_resizing=False)
    begin, end = tokenizer.convert_tokens_to_ids(list(markers))
    return start, begin, end
