"""Valid files with coded payloads to damage: one of every coder, of small codecs with drawn codes."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from examples import make_codec
from fuzz_corpus import Values, Victim, drawn, opened
from hyper_codecs import fresh
from pictures import picture_codec

from neuralcodecs import Codec
from neuralcodecs.bitstream import Coders, Header, Reader
from neuralcodecs.bitstream.coarse import Coarse, coarse_of
from neuralcodecs.coding import Coding
from neuralcodecs.files import check_header, read_codes, write_codes
from neuralcodecs.layered_coder import LayeredPriorCoder
from neuralcodecs.lm.orders import Masked
from neuralcodecs.masked_coder import MaskedPriorCoder
from neuralcodecs.medium import SignalInfo
from neuralcodecs.pretrained import fingerprint
from neuralcodecs.prior_coders import LearnedPriorCoder, StaticPriorCoder
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer
from neuralcodecs.priors.counted import StaticPrior
from neuralcodecs.priors.masked import MaskedTransformer

SPEECH = (10000,)
"""Samples: 32 frames."""


def coded_victims(folder: Path) -> list[Victim]:
    """Each with its length known and unknown; ``folder``: where files are put to be read."""
    found = []
    for name, codec, prior, coarse in _codings():
        identity, path, coding = fingerprint(codec), folder / f"{name}.ncs", Coding(codec, prior, coarse)
        codes = drawn(codec, SPEECH if codec.medium.rate else (40, 56), min(3, codec.quantizer.most_levels))
        info = SignalInfo(codec.medium.rate, codec.medium.channels, codes.shapes[0])
        write_codes(path, codec, codes, info, identity, coding=coding)
        known = path.read_bytes()
        for form, data in (("known", known), ("open", opened(known, coding.payloads))):
            found.append(
                Victim(
                    f"{name} {form}",
                    data,
                    partial(_read, codec, identity, path),
                    partial(_check, codec, path),
                    partial(_coders, codec, prior, coarse),
                )
            )
    return found


def _codings() -> Iterator[tuple[str, Codec, str | None, Coarse | None]]:
    for kind in (ParallelTransformer, FactorisedTransformer):
        codec = make_codec()
        alphabet = codec.quantizer.codebook_sizes
        static = StaticPrior(alphabet)
        static.count(drawn(codec, SPEECH, 4)["codes"])
        codec.attach("static", StaticPriorCoder(static))
        codec.attach("learned", LearnedPriorCoder(kind(alphabet, 16, 2, 1, 20).export(), alphabet))
        name = kind.__name__
        yield f"{name} learned", codec, "learned", None
        yield f"{name} coarse", codec, "learned", Coarse(1, 77)
    yield "static", codec, "static", None
    first = ParallelTransformer(alphabet[:2], 16, 2, 1, 20)
    layered = LayeredPriorCoder(
        LearnedPriorCoder(first.export(), alphabet[:2]), StaticPriorCoder(StaticPrior((60, 60)))
    )
    other = make_codec()
    other.attach("learned", layered)
    yield "layered", other, "learned", None
    yield "adaptive", codec, "adaptive", None
    codec = picture_codec()
    prior = MaskedTransformer(codec.quantizer.codebook_sizes, Masked(3), 2, 16, 2, 1, 2)
    codec.attach("learned", MaskedPriorCoder(prior.export()))
    yield "masked", codec, "learned", None
    torch.manual_seed(0)
    yield "hyperprior", fresh("slices").eval(), None, None


def _read(codec: Codec, identity: bytes, path: Path, data: bytes) -> Values:
    path.write_bytes(data)
    return tuple(stream.values[0].numpy() for stream in read_codes(path, codec, identity)[0])


def _check(codec: Codec, path: Path, header: Header) -> None:
    check_header(codec, header, path)


def _coders(codec: Codec, prior: str | None, coarse: Coarse | None, reader: Reader) -> Coders:
    """``coarse``: unless the file itself says how many levels are sent."""
    return Coding(codec, prior, coarse and (coarse_of(reader) or coarse)).payloads
