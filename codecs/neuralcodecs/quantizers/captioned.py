"""A quantizer whose codes carry a caption, as PerCo's do (https://arxiv.org/abs/2310.10325, section 3.2).

latents --quantizer--> codes          caption (``captions.with_captions``) --TextCoder--> its bytes in the file
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from neuralcodecs.bitstream.range_coder import RangeDecoder, RangeEncoder, ideal_bits, intervals, table_of
from neuralcodecs.captions import CAPTION, tell, values_of
from neuralcodecs.codec import Quantized, QuantizerFactory
from neuralcodecs.codes import FREE, Layout, Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.wrapping import Wrapping
from neuralcodecs.stream_coder import StreamCoder, StreamCoders

BYTES = 256
LETTERS = " eatonirshldcugpmwfbykvxjqz"
SHARES = (1800, 930, 810, 690, 600, 620, 620, 530, 490, 380, 350, 320, 270, 240, 240, 210, 200, 190, 170, 160, 150, 120)
"""Of the first letters in 10,000 bytes of plain captions; the rest of them is rarer than 1 in 100."""
RARE = {b"vxjqz": 20, b",.": 60, b"-'": 15, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ": 8, b"0123456789": 6}
"""Occurrences of each of these; every other byte has one."""


def _table() -> np.ndarray:
    counts = np.ones(BYTES, np.int64)
    for group, count in RARE.items():
        counts[list(group)] = count
    common = LETTERS.encode()[: len(SHARES)]
    counts[list(common)] = SHARES
    return table_of(counts)


class TextCoder(StreamCoder):
    """Bytes by how common they are in English captions: some 4.5 bits a letter, up to 14 for a rare byte.

    PerCo's zlib needs about 8 bits a letter for texts as short as these.
    """

    number = 18
    alphabet = (BYTES,)

    def encode(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> bytes:
        encoder = RangeEncoder()
        encoder.encode(values.flatten().cpu().numpy(), TABLE)
        return encoder.finish()

    def decode(self, data: bytes, levels: int, grid: Shape, given: Mapping[str, Tensor]) -> Int64[Tensor, "q *grid"]:
        decoder = RangeDecoder(data)
        values = decoder.decode(int(np.prod(grid)), TABLE)
        decoder.finish()
        return torch.from_numpy(values).view(levels, *grid)

    def bits(self, values: Int64[Tensor, "q *grid"], given: Mapping[str, Tensor]) -> float:
        symbols = values.flatten().cpu().numpy()
        return ideal_bits(*intervals(symbols, np.broadcast_to(TABLE, (len(symbols), len(TABLE)))))


TABLE = _table()


class Captioned(Wrapping):
    """A quantizer of all channels but the last ``longest``, which hold the caption, a byte each, at every position.

    The encoder leaves them free (``encoders.SpareEncoder``); the decoder's conditioner reads them
    (``decoders.CaptionTokens``) or leaves them out (``decoders.Uncaptioned``). Codes are made without a caption;
    ``captions.with_captions`` gives them one, once per signal.

    Args:
        dim: channels of the latents, those of the caption included.
        quantizer: called with ``dim - longest``; one without side streams.
        longest: bytes of the longest caption, 1 to 4096.
    """

    made_by_codec = {"quantizer": ("dim",)}

    def __init__(self, dim: int, quantizer: QuantizerFactory, longest: int = 256) -> None:
        super().__init__()
        if not 1 <= longest <= min(4096, dim - 1):
            raise CodecError(f"captions of {longest} bytes in {dim} channels: give 1 to 4096, less than the channels")
        self.dim, self.longest_caption = dim, longest
        self.quantizer = quantizer(dim - longest)
        if self.quantizer.side_streams((1,)):
            raise CodecError(f"{type(self.quantizer).__name__} has side streams: it cannot have captions too")
        self.codebook_sizes, self.levels = self.quantizer.codebook_sizes, self.quantizer.levels
        self._coder = TextCoder()

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        quantized = self.quantizer(self._own(latents), levels)
        silent = torch.cat((quantized.latents, torch.zeros_like(latents[:, -self.longest_caption :])), dim=1)
        return quantized._replace(latents=silent)

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        return self.quantizer.encode(self._own(latents), levels)

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        """Latents without a caption."""
        return self.decode_streams((codes, codes.new_zeros(len(codes), 1, 0)))

    def side_streams(self, grid: Shape) -> tuple[Layout, ...]:
        return (Layout(CAPTION, (BYTES,), (FREE,)),)

    def encode_streams(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> tuple[Tensor, ...]:
        codes = self.encode(latents, levels)
        return codes, codes.new_zeros(len(codes), 1, 0)

    def decode_streams(self, streams: tuple[Tensor, ...]) -> Float[Tensor, "b d *grid"]:
        codes, text = streams
        if text.shape[-1] > self.longest_caption:
            raise CodecError(
                f"a caption of {text.shape[-1]} bytes, this model takes {self.longest_caption}: the file is forged"
            )
        return tell(self.quantizer.decode(codes), text[:, 0], self.longest_caption)

    def tell(self, latents: Float[Tensor, "b d *grid"], captions: Sequence[bytes]) -> Float[Tensor, "b d *grid"]:
        return tell(self._own(latents), values_of(captions, self.longest_caption), self.longest_caption)

    def coders(self) -> StreamCoders:
        return {CAPTION: self._coder, **self.quantizer.coders()}

    def _own(self, latents: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b e *grid"]:
        return latents[:, : -self.longest_caption]
