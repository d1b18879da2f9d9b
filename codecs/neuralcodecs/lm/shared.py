"""A tokenizer among other tools: ids as text and back, batches for a trainer, the hub, legal generation."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.lm.stored import codes_of_row
from neuralcodecs.pretrained import fingerprint

if TYPE_CHECKING:
    from neuralcodecs.lm.tokenizer import CodecTokenizer

UNLABELLED = -100
"""Label of what a model is not trained to say; transformers' losses leave it out."""


class SharedTokenizer:
    """The methods of ``CodecTokenizer`` that other tools call."""

    @property
    def tokens_per_second(self: "CodecTokenizer") -> int:  # type: ignore[misc]
        """Ids of a second of sound, without the markers. Raises CodecError for pictures."""
        if self.grammar.sized:
            raise CodecError("pictures have no tokens per second: count((height, width)) says how many one has")
        return self.count((self.codec.medium.rate,)) - 2

    @cached_property
    def fingerprint(self: "CodecTokenizer") -> str:  # type: ignore[misc]
        """Of the codec, in hex."""
        return fingerprint(self.codec).hex()

    def from_row(self: "CodecTokenizer", row: Mapping[str, Any]) -> list[int]:  # type: ignore[misc]
        """Ids of a row of a corpus that ``neuralcodecs tokenize`` made, with markers; no signal is read.

        Raises CodecError for a row of another codec or of other levels.
        """
        return self.from_grid(codes_of_row(self.codec, self.levels, self.fingerprint, row))

    def logits_processor(  # type: ignore[misc]
        self: "CodecTokenizer", size: Shape | None = None, most: int = 512
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """A ``LogitsProcessor`` that allows legal tokens only, batch row by batch row.

        ``size``: the only one an item may have, in frames (audio) or strides of height and width (pictures).
        ``most``: frames of audio, where ``size`` is not given.
        """
        from neuralcodecs.lm.constraint import LegalTokens

        lengths = None if self.grammar.sized else [(n,) for n in range(1, most + 1)]
        return LegalTokens(self.vocabulary, self.grammar, lengths if size is None else [size])

    def push_to_hub(  # type: ignore[misc]
        self: "CodecTokenizer",
        repo_id: str,
        private: bool | None = None,
        token: str | None = None,
        message: str = "Push codec tokenizer",
    ) -> str:
        """Upload what ``save_pretrained`` writes to ``owner/name``, made if needed; returns the commit's address."""
        from neuralcodecs.hub import push

        return push(self, repo_id, private, token, message)

    def to_text(self: "CodecTokenizer", ids: Sequence[int]) -> str:  # type: ignore[misc]
        """A name for each id: ``<|audio_0_17|>`` is code 17 of row 0, ``<|image_size_12|>`` 12 strides.

        Raises CodecError for ids that are not this tokenizer's.
        """
        v, starts = self.vocabulary, self.vocabulary.starts()
        names = dict(zip((v.begin, v.end), self.special_tokens, strict=True))
        parts = []
        for place, number in enumerate(ids):
            row = int(v.rows(torch.tensor([number]))[0])
            if number in names:
                parts.append(names[number])
            elif row >= 0:
                parts.append(f"<|{self.name}_{row}_{number - starts[row]}|>")
            elif v.offset <= number < starts[0]:
                parts.append(f"<|{self.name}_size_{number - v.offset + 1}|>")
            else:
                raise CodecError(
                    f"id {number} at position {place} is none of tokenizer {self.name!r}: cut the span out"
                )
        return "".join(parts)

    def from_text(self: "CodecTokenizer", text: str) -> list[int]:  # type: ignore[misc]
        """The inverse of ``to_text``. Raises CodecError naming the first part that is no name of an id."""
        v, starts, ids = self.vocabulary, self.vocabulary.starts(), []
        markers = dict(zip(self.special_tokens, (v.begin, v.end), strict=True))
        name = re.compile(rf"<\|{re.escape(self.name)}_(size|\d+)_(\d+)\|>")
        for part in re.findall(r"<\|.*?\|>|.[^<]*", text, re.DOTALL):
            found = name.fullmatch(part)
            if part in markers:
                ids.append(markers[part])
                continue
            row = None if found is None else -1 if found[1] == "size" else int(found[1])
            value = 0 if found is None else int(found[2]) - (found[1] == "size")
            limits = {-1: (v.offset, v.largest)} | {k: (starts[k], n) for k, n in enumerate(v.alphabet)}
            if row not in limits or not 0 <= value < limits[row][1]:
                raise CodecError(f"{part[:40]!r} is no token of tokenizer {self.name!r}: remove it")
            ids.append(limits[row][0] + value)
        return ids

    def collator(self: "CodecTokenizer", spans_only: bool = False) -> "Collator":  # type: ignore[misc]
        """Makes batches for transformers' ``Trainer``; ``spans_only``: only codes and the end marker are learned."""
        return Collator(self, spans_only)


class Collator:
    """Rows of ``input_ids`` as a padded batch with ``attention_mask`` and ``labels``; padding has label -100.

    Rows may have ``labels`` of their own, else they are the ids. Models shift labels by themselves.
    """

    def __init__(self, tokenizer: "CodecTokenizer", spans_only: bool) -> None:
        self.pad = tokenizer.vocabulary.pad
        self.left = tokenizer.padding_side == "left"
        self.vocabulary = tokenizer.vocabulary if spans_only else None

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        ids = [torch.as_tensor(row["input_ids"]) for row in rows]
        labels = [self._learned(torch.as_tensor(row.get("labels", row["input_ids"]))) for row in rows]
        return {
            "input_ids": self._padded(ids, self.pad),
            "attention_mask": self._padded([torch.ones_like(row) for row in ids], 0),
            "labels": self._padded(labels, UNLABELLED),
        }

    def _learned(self, labels: Tensor) -> Tensor:
        labels = labels.clone()
        labels[:1] = UNLABELLED  # nothing precedes it: with padding on the left, padding would have to say it
        if self.vocabulary is None:
            return labels
        v = self.vocabulary
        return torch.where((labels >= v.offset) & (labels < v.stop) | (labels == v.end), labels, UNLABELLED)

    def _padded(self, rows: Sequence[Tensor], value: int) -> Tensor:
        longest = max(map(len, rows))
        padded = torch.full((len(rows), longest), value)
        for target, row in zip(padded, rows, strict=True):
            start = longest - len(row) if self.left else 0
            target[start : start + len(row)] = row
        return padded
