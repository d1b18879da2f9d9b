"""A codec as a tokenizer of a Hugging Face causal language model: signals to ids, ids to signals, legal generation.

    ids: ... begin [size of a picture] codes in the pattern's order, one id each ... end ...

transformers is needed for ``__call__`` and ``logits_processor`` only, and imported there.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from neuralcodecs.codec import Codec
from neuralcodecs.codes import Codes, Shape, Stream
from neuralcodecs.errors import CodecError
from neuralcodecs.lm import saved
from neuralcodecs.lm.grammar import Grammar
from neuralcodecs.lm.patterns import Pattern
from neuralcodecs.lm.ready import flat
from neuralcodecs.lm.scales import SCALE_LEVELS, scale_levels, scales_of
from neuralcodecs.lm.shared import SharedTokenizer
from neuralcodecs.lm.signals import Signal, as_batch
from neuralcodecs.lm.stored import check_codes
from neuralcodecs.lm.suitable import check_suitable
from neuralcodecs.lm.vocabulary import LanguageModel, TextTokenizer, Vocabulary, block_size, reserve
from neuralcodecs.pieced import MAIN, SCALE
from neuralcodecs.pretrained import fingerprint, load

Ids = Sequence[int] | Int64[Tensor, " n"]

LARGEST = 256
"""Strides of a picture's side at most: as many ids say how large it is."""


class CodecTokenizer(SharedTokenizer):
    """View of a codec as a tokenizer; several, of different names, may live in one vocabulary.

    Args:
        codec: has one stream of codes, and a scale for each piece where it has a scaler.
        pattern: order of the codes in the sequence; None: flat.
        name: of the markers ``<|name_start|>`` and ``<|name_end|>``.
        levels: how many codebooks are used; None: the codec's default.
        padding_side: ``left`` to generate from a batch, ``right`` to train.
    """

    def __init__(
        self,
        codec: Codec,
        pattern: Pattern | None = None,
        name: str = "audio",
        levels: int | None = None,
        padding_side: str = "right",
    ) -> None:
        if padding_side not in ("left", "right"):
            raise CodecError(f"padding side {padding_side!r}: give left or right")
        check_suitable(codec)
        self.codec = codec.eval()
        self.pattern = flat() if pattern is None else pattern
        self.name = name
        self.levels = codec.check_levels(levels)
        self.padding_side = padding_side
        self.grammar = Grammar(codec, self.pattern, self.levels)
        self._vocabulary: Vocabulary | None = None

    @property
    def alphabet(self) -> Shape:
        """Alphabet size of each row: the levels, then the scale where the codec has one."""
        scale = () if self.codec.scaler is None else (SCALE_LEVELS,)
        return (*self.codec.quantizer.codebook_sizes[: self.levels], *scale)

    @property
    def vocab_size(self) -> int:
        """Ids that the block takes, without the two markers."""
        return block_size(self.alphabet, self._largest)

    @property
    def special_tokens(self) -> tuple[str, str]:
        """The begin and the end marker, as text."""
        return f"<|{self.name}_start|>", f"<|{self.name}_end|>"

    @property
    def vocabulary(self) -> Vocabulary:
        """Its ids; CodecError before ``add_to``."""
        if self._vocabulary is None:
            raise CodecError(f"tokenizer {self.name!r} has no ids yet: call add_to with a text tokenizer and a model")
        return self._vocabulary

    @property
    def _largest(self) -> int:
        return LARGEST if self.grammar.sized else 0

    def count(self, shape: Shape) -> int:
        """Tokens of a signal of ``shape`` (samples; or height, width), markers included."""
        sizes = len(shape) if self.grammar.sized else 0
        return len(self.grammar.rows(self.grammar.units(shape))) + sizes + 2

    def add_to(self, tokenizer: TextTokenizer, model: LanguageModel | None = None) -> int:
        """Add the markers and the block of ids to a text tokenizer, and rows to the model's embeddings.

        Returns the block's first id. Again with the same tokenizer: no change. The text tokenizer keeps what is taken,
        and must be saved with the model.
        """
        offset, begin, end = reserve(self.name, self.vocab_size, self.special_tokens, tokenizer, model)
        pad = end if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self._vocabulary = Vocabulary(self.alphabet, self._largest, offset, begin, end, pad)
        return offset

    def from_grid(self, codes: Codes) -> list[int]:
        """Ids of the stored codes of one item, with markers; ``codes["codes"]`` is ``(1, levels, *grid)``.

        Scales are rounded to levels of 0.4 dB. Raises CodecError for codes that are not this codec's.
        """
        v = self.vocabulary
        check_codes(self.codec, self.levels, codes)
        units = self.grammar.units(codes.shapes[0])
        if self.grammar.sized and max(units) > LARGEST:
            raise CodecError(f"a picture of {units} strides is larger than {LARGEST}: cut it")
        sizes = [v.offset + n - 1 for n in units] if self.grammar.sized else []
        layout = self.grammar.layout(units)
        scales = [scale_levels(codes[SCALE].cpu().flatten())] if self.grammar.scales(units) else []
        values = torch.cat([codes[MAIN].cpu().flatten(), *scales])
        return [v.begin, *sizes, *v.ids(layout.row, values[layout.number]), v.end]

    def to_grid(self, ids: Ids, strict: bool = False) -> Codes:
        """Codes of the first span in ``ids``; what is outside the markers is not read.

        Repair: reading stops at the end marker, the end of ``ids`` or the first id that cannot be there, and of what
        was read the leading whole frames (rows of a picture) are kept. ``strict``: CodecError naming the position
        instead. Raises CodecError in any case when no begin marker, no size, or no whole frame is there.
        """
        v, given = self.vocabulary, [int(n) for n in ids]
        if v.begin not in given:
            raise CodecError(f"no {self.special_tokens[0]} (id {v.begin}) among {len(given)} ids: nothing to decode")
        start = given.index(v.begin) + 1
        stop = given.index(v.end, start) if v.end in given[start:] else len(given)
        sizes, start = self._sizes(given, start, stop)
        inside = torch.tensor(given[start:stop], dtype=torch.int64)
        rows = v.rows(inside)
        if sizes:
            units, known = sizes, self.grammar.agreement(rows, sizes)
        else:
            units, known = self.grammar.read(rows)
        if strict:
            self._check(start + known, stop, len(given), known == len(self.grammar.rows(units)))
        values = inside[:known] - torch.tensor(v.starts())[rows[:known]]
        return self._codes(units, known, values)

    def _sizes(self, ids: list[int], start: int, stop: int) -> tuple[Shape, int]:
        """The units that a picture says of itself, and where its codes start."""
        if not self.grammar.sized:
            return (), start
        axes = len(self.codec.encoder.strides)
        units = tuple(n - self.vocabulary.offset + 1 for n in ids[start : min(start + axes, stop)])
        if len(units) < axes or not all(1 <= n <= LARGEST for n in units):
            raise CodecError(f"ids from position {start} are no size of a picture: the sequence cannot be decoded")
        return units, start + axes

    def _check(self, reached: int, stop: int, length: int, complete: bool) -> None:
        if reached < stop:
            raise CodecError(f"the id at position {reached} is none that the pattern has there: decode without strict")
        if not complete or stop == length:
            raise CodecError(f"the item is cut off at position {reached} of {length}: decode without strict")

    def _codes(self, units: Shape, known: int, values: Tensor) -> Codes:
        numbers, part = self.grammar.whole(units, known)
        grid, all_of, scales = self.grammar.grid(part), self.grammar.grid(units), self.grammar.scales(part)
        main = self.levels * math.prod(all_of)
        flat_codes = torch.zeros(main + self.grammar.scales(units), dtype=torch.int64)
        flat_codes[numbers] = values
        whole = flat_codes[:main].view(1, self.levels, *all_of)[:, :, : grid[0]]
        side = [scales_of(flat_codes[main : main + scales])] if scales else []
        alphabet = self.alphabet[: self.levels]
        return Codes((Stream(MAIN, whole, alphabet, (grid,)), *side), (self.grammar.shape(part),))

    def encode(self, signal: Signal) -> list[int]:
        """Ids of one signal (audio and pictures in [-1, 1], at the codec's rate), with markers."""
        return self.from_grid(self.codec.encode(as_batch(signal, self.codec), self.levels))

    def decode(self, ids: Ids, strict: bool = False) -> Float[Tensor, "c *space"]:
        """The signal of the first span in ``ids``, whole frames long; ``strict`` and errors: as ``to_grid``."""
        return self.decode_codes(self.to_grid(ids, strict))

    def batch_decode(
        self, ids: Sequence[Ids] | Int64[Tensor, "b n"], strict: bool = False
    ) -> list[Float[Tensor, "_ ..."]]:
        """``decode`` of each row."""
        return [self.decode(row, strict) for row in ids]

    def decode_codes(self, codes: Codes) -> Float[Tensor, "c *space"]:
        """The signal of the codes of one item."""
        moved = tuple(replace(stream, values=stream.values.to(self.codec.device)) for stream in codes)
        return self.codec.decode(Codes(moved, codes.shapes))[0]

    def __call__(
        self,
        signals: Iterable[Signal],
        sampling_rate: int | None = None,
        return_tensors: str | None = "pt",
        padding: bool = True,
    ) -> Mapping[str, Any]:
        """``input_ids`` and ``attention_mask`` of signals of any lengths; labels are ``input_ids``, not shifted.

        Raises CodecError for a rate that is not the codec's.
        """
        from transformers import BatchFeature

        if sampling_rate not in (None, self.codec.medium.rate):
            raise CodecError(f"{sampling_rate} Hz given, the codec has {self.codec.medium.rate}: resample the signal")
        rows = [self.encode(signal) for signal in signals]
        longest = max(map(len, rows), default=0) if padding else 0
        ids, mask = [], []
        for row in rows:
            fill, ones = [self.vocabulary.pad] * max(0, longest - len(row)), [1] * len(row)
            zeros = [0] * len(fill)
            ids.append(fill + row if self.padding_side == "left" else row + fill)
            mask.append(zeros + ones if self.padding_side == "left" else ones + zeros)
        return BatchFeature({"input_ids": ids, "attention_mask": mask}, tensor_type=return_tensors)

    def save_pretrained(self, directory: str | Path) -> None:
        """Write ``codec_tokenizer.json`` and the codec, in ``codec/``, into a folder of its own, made if needed."""
        folder = Path(directory)
        self.codec.save_pretrained(folder / saved.CODEC)
        identity, pattern = fingerprint(self.codec).hex(), self.pattern.describe()
        ids = saved.ids(self._vocabulary)
        saved.write(folder, saved.Facts(self.name, self.levels, self.padding_side, identity, pattern, ids))

    @classmethod
    def from_pretrained(
        cls, directory: str | Path, codec: Codec | None = None, pattern: Pattern | None = None
    ) -> "CodecTokenizer":
        """What ``save_pretrained`` wrote, in a folder or at a hub id ``owner/name``.

        ``codec``, ``pattern``: used in place of the saved ones, for classes from outside this package; the codec must
        have the saved fingerprint. CodecError when a file is missing or damaged.
        """
        folder = saved.locate(directory)
        facts = saved.read(folder)
        codec = load(folder / saved.CODEC) if codec is None else codec
        if fingerprint(codec).hex() != facts.fingerprint:
            raise CodecError(f"the tokenizer in {folder} is of codec {facts.fingerprint}, not of this one")
        pattern = saved.pattern(facts.pattern) if pattern is None else pattern
        self = cls(codec, pattern, facts.name, facts.levels, facts.padding_side)
        if facts.ids is not None:
            self._vocabulary = Vocabulary(self.alphabet, self._largest, **facts.ids)
        return self
