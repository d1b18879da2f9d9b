"""Captions: text that travels with the codes of a picture, as bytes of UTF-8, and that a decoder may be told.

text --bounded--> bytes --with_captions--> stream "caption" of the codes --quantizer--> last channels of the latents
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from neuralcodecs.codes import Codes
from neuralcodecs.errors import CodecError

if TYPE_CHECKING:  # the codec knows of captions
    import neuralcodecs.codec

CAPTION = "caption"
"""Name of the stream: one row of bytes, as long as the text; no byte is 0, which stands for no text."""


def bounded(text: str, most: int) -> bytes:
    """A caption that a user gives; CodecError where it has more than ``most`` bytes, or a character of value 0."""
    if not most:
        raise CodecError("this model takes no captions: leave --caption out")
    data = text.encode("utf-8", "surrogateescape")
    if len(data) > most or 0 in data:
        fault = "holds a zero" if 0 in data else f"has {len(data)} bytes"
        raise CodecError(f"the caption {text[:20]!r}... {fault}: this model takes up to {most} bytes, none of them 0")
    return data


def shortened(text: str, most: int) -> bytes:
    """A caption found with the data: its words joined by spaces, cut to whole characters of at most ``most`` bytes."""
    data = " ".join(text.replace("\0", " ").split()).encode("utf-8", "ignore")[:most]
    return data.decode("utf-8", "ignore").encode()


def values_of(captions: Sequence[bytes], most: int) -> Int64[Tensor, "b n"]:
    """Bytes as integers, zeros after them up to ``most``; what is longer is cut."""
    rows = [caption[:most].ljust(most, b"\0") for caption in captions]
    return torch.tensor([list(row) for row in rows], dtype=torch.int64).view(len(rows), most)


def with_captions(codes: Codes, captions: Sequence[bytes]) -> Codes:
    """The codes of captioned signals, one caption per item; CodecError where the codec takes none."""
    if CAPTION not in [stream.name for stream in codes]:
        raise CodecError("these codes have no stream of captions: use a model whose quantizer is Captioned")
    longest = max(map(len, captions))
    own = replace(
        codes.stream(CAPTION),
        values=values_of(captions, longest)[:, None].to(codes.streams[0].values.device),
        grids=tuple((len(caption),) for caption in captions),
    )
    return replace(codes, streams=tuple(own if stream.name == CAPTION else stream for stream in codes))


def found(codec: "neuralcodecs.codec.Codec", path: Path) -> bytes:
    """What the data says that a file shows, as much of it as the codec takes; nothing for codecs without captions."""
    most = codec.quantizer.longest_caption
    return shortened(codec.medium.caption(path), most) if most else b""


def with_found(codec: "neuralcodecs.codec.Codec", codes: Codes, path: Path) -> Codes:
    """The codes of a file with the caption that the data has for it, for codecs that take any."""
    return with_captions(codes, [found(codec, path)]) if codec.quantizer.longest_caption else codes


def tell(latents: Float[Tensor, "b d *grid"], values: Int64[Tensor, "b n"], most: int) -> Float[Tensor, "b e *grid"]:
    """Latents with ``most`` channels more, each a byte of the caption at every position."""
    said = F.pad(values, (0, most - values.shape[1])).to(latents)
    ones = (1,) * (latents.ndim - 2)
    return torch.cat((latents, said.view(*said.shape, *ones).expand(-1, -1, *latents.shape[2:])), dim=1)


def hear(latents: Float[Tensor, "b e *grid"], most: int) -> Int64[Tensor, "b n"]:
    """What the last ``most`` channels say."""
    return latents[:, -most:].flatten(2)[..., 0].round().long().clamp(0, 255)
