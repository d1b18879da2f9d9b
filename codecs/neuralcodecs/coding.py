"""Which coders the streams of a codec's files have: those that the codec brings, and the prior that was chosen."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from neuralcodecs.bitstream import Coders, Header, PayloadCoder, Reader
from neuralcodecs.bitstream.coarse import COARSE, Coarse, coarse_of
from neuralcodecs.bitstream.header import MAIN_STREAM
from neuralcodecs.bitstream.payloads import Values
from neuralcodecs.coarse_coder import CoarseCoder
from neuralcodecs.codes import Codes, Shape, Stream
from neuralcodecs.errors import CodecError
from neuralcodecs.prior_coders import AdaptivePriorCoder
from neuralcodecs.stream_coder import CHUNK_SECONDS, StreamCoder, StreamCoders

if TYPE_CHECKING:
    from neuralcodecs.codec import Codec

NONE, ADAPTIVE = "none", "adaptive"
BEST = ("learned", "static")
"""Priors of a model by name, the one that saves most first; ``adaptive`` needs none and ``none`` is fixed width."""
PRIORS = (NONE, "static", ADAPTIVE, "learned")


class Payloads(PayloadCoder):
    """A ``StreamCoder`` as the container knows it: arrays instead of tensors."""

    def __init__(self, coder: StreamCoder) -> None:
        self.coder = coder
        self.number = coder.number
        self.prior = coder.fingerprint

    def encode(self, values: Values, given: Mapping[str, Values]) -> bytes:
        return self.coder.encode(torch.from_numpy(values), _tensors(given))

    def decode(self, data: bytes, levels: int, grid: Shape, given: Mapping[str, Values]) -> Values:
        return self.coder.decode(data, levels, grid, _tensors(given)).cpu().numpy()


class Coding:
    """The coders of the files that a codec writes with one prior; the same for any number of files.

    Args:
        codec: whose quantizer may bring coders of its own; its priors are those that were attached.
        prior: of the main stream: none, static, adaptive or learned; None: the best that the codec has.
        coarse: the first levels of the main stream alone are sent, its prior predicts the others; None sends all.

    Raises:
        CodecError: it has no such prior, or one that predicts nothing, or codes that stream itself.
    """

    def __init__(self, codec: "Codec", prior: str | None = None, coarse: Coarse | None = None) -> None:
        own = codec.quantizer.coders()
        self.prior = _best(codec, own) if prior is None else prior
        if MAIN_STREAM in own and (prior not in (None, NONE) or coarse is not None):
            option = "--coarse" if prior in (None, NONE) else f"--prior {prior}"
            raise CodecError(f"{option}: this codec codes its main stream itself, leave {option.split()[0]} out")
        chosen = _prior(codec, self.prior)
        if coarse is not None:
            chosen = _coarse(self.prior, chosen, coarse)
        self.streams: StreamCoders = {**own, **({} if chosen is None else {MAIN_STREAM: chosen})}
        self.payloads: Coders = {name: Payloads(coder) for name, coder in self.streams.items()}
        self.chunk_seconds = max((coder.chunk_seconds for coder in self.streams.values()), default=CHUNK_SECONDS)

    def header(self, header: Header) -> Header:
        """The header with the coder and prior of every stream."""
        streams = []
        for stream in header.streams:
            coder = self.payloads.get(stream.name)
            streams.append(stream if coder is None else replace(stream, coder=coder.number, prior=coder.prior))
        return replace(header, streams=tuple(streams))

    def bits(self, codes: Codes) -> float:
        """Entropy bits of one signal's codes, as if in one chunk: nominal ones of the streams without a coder."""
        return sum(self.stream_bits(codes).values())

    def stream_bits(self, codes: Codes) -> dict[str, float]:
        """The same by stream."""
        values = {stream.name: stream.values[0].cpu() for stream in codes}
        given = {name: own for name, own in values.items() if name != MAIN_STREAM}
        bits = {}
        for stream in codes:
            coder, own = self.streams.get(stream.name), values[stream.name]
            nominal = float(Codes((stream,), codes.shapes).nominal_bits()[0])
            bits[stream.name] = nominal if coder is None or not own.numel() else coder.bits(own, given)
        return bits


def use_coders(codec: "Codec", reader: Reader, source: Path) -> Coding:
    """Give a reader the coders that its header names; returns them.

    Raises CodecError, with the remedy, where the codec lacks one.
    """
    wanted = [(stream.name, stream.coder, stream.prior) for stream in reader.header.streams if stream.coder]
    for coding in _readers(codec, reader.header):
        if wanted == [(name, c.number, c.prior) for name, c in _in_order(reader.header, coding.payloads)]:
            reader.use(coding.payloads)
            return coding
    named = ", ".join(f"{name!r}: coder {number}, prior {prior.hex()}" for name, number, prior in wanted)
    have = ", ".join(f"{name} {coder.fingerprint.hex()}" for name, coder in codec.priors.items()) or "none"
    raise CodecError(
        f"{source} needs another prior ({named or 'none'}) than this model has ({have}): "
        "get the model with the prior that it was encoded with and name it with -m"
    )


def entropies(codec: "Codec", source: Path) -> dict[str, float]:
    """Entropy bits of each stream of a file under what coded it, chunk by chunk; CodecError if the model lacks that."""
    with source.open("rb") as file:
        reader = Reader(file)
        coding = use_coders(codec, reader, source)
        coarse = coarse_of(reader)
        if coarse is not None:
            coding = Coding(codec, coding.prior, coarse)
        bits = dict.fromkeys((stream.name for stream in reader.header.streams), 0.0)
        for chunk in reader:
            streams = zip(reader.header.streams, chunk.values, strict=True)
            parts = [Stream(s.name, torch.from_numpy(v)[None], s.alphabet, (v.shape[1:],)) for s, v in streams]
            for name, count in coding.stream_bits(Codes(tuple(parts), (reader.header.shape,))).items():
                bits[name] += count
    return bits


def _readers(codec: "Codec", header: Header) -> Iterator[Coding]:
    """What may have coded the streams of such a header."""
    plain = Coding(codec, NONE)
    yield plain
    if MAIN_STREAM in plain.streams:
        return
    if header.streams[0].coder == COARSE:  # each payload says itself how many levels it has
        yield from (Coding(codec, name, Coarse(1)) for name, prior in codec.priors.items() if prior.predicts)
    else:
        yield from (Coding(codec, name) for name in (*codec.priors, ADAPTIVE))


def _in_order(header: Header, coders: Coders) -> list[tuple[str, PayloadCoder]]:
    return [(stream.name, coders[stream.name]) for stream in header.streams if stream.name in coders]


def _best(codec: "Codec", own: StreamCoders) -> str:
    return next((name for name in BEST if name in codec.priors and MAIN_STREAM not in own), NONE)


def _prior(codec: "Codec", name: str) -> StreamCoder | None:
    if name == NONE:
        return None
    if name == ADAPTIVE:
        return AdaptivePriorCoder(codec.quantizer.codebook_sizes)
    if name not in codec.priors:
        have = ", ".join((NONE, *codec.priors, ADAPTIVE))
        raise CodecError(f"--prior {name}: this model has none; choose of {have}, or attach one (docs/entropy.md)")
    return codec.priors[name]


def _coarse(name: str, prior: StreamCoder | None, coarse: Coarse) -> StreamCoder:
    if prior is None or not prior.predicts:
        raise CodecError(
            f"--coarse: the {name} prior predicts no levels, that takes an autoregressive learned one of all"
        )
    return CoarseCoder(prior, coarse)


def _tensors(given: Mapping[str, Values]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values) for name, values in given.items()}
