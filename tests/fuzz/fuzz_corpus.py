"""Valid files to damage: of every shipped config (narrow networks, drawn codes) and with every part of the format."""

import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from bitstream_examples import audio, banded, decode, duet, image
from mutations import Mutation
from narrowing import CODECS, narrow

from neuralcodecs import Codec, Codes
from neuralcodecs.bitstream import UNKNOWN, Coders, Header, Reader, Writer
from neuralcodecs.bitstream.payloads import NO_CODERS
from neuralcodecs.codes import FREE, Stream
from neuralcodecs.files import check_header, read_codes, write_codes
from neuralcodecs.medium import SignalInfo
from neuralcodecs.pieces import scale_stream
from neuralcodecs.pretrained import build, fingerprint

Values = tuple[np.ndarray, ...]

CONFIGS = list(CODECS)


@dataclass(frozen=True)
class Victim:
    """A valid file. ``read``: its values as whoever decodes it gets them. ``check``: what its model asks of a header.

    Both raise CodecError for a file that is refused. ``coders``: what its model reads and writes such a file with.
    """

    name: str
    data: bytes
    read: Callable[[bytes], Values]
    check: Callable[[Header], None]
    coders: Callable[[Reader], Coders] = lambda reader: NO_CODERS

    def open(self, data: bytes) -> Reader:
        """Its container alone, ready to read chunks."""
        reader = Reader(io.BytesIO(data))
        reader.use(self.coders(reader))
        return reader

    def rewritten(self, data: bytes, closed: Header) -> bytes:
        """What a writer makes of the chunks of ``data``; ``closed``: its header, every length known."""
        reader, file = self.open(data), io.BytesIO()
        writer = Writer(file, reader.header, coders=self.coders(reader))
        for chunk in reader:
            writer.append(chunk)
        writer.finish(closed.shape[0], closed.original.shape[0] if closed.original else None)
        return file.getvalue()


def narrow_codec(config: Path) -> Codec:
    """The same weights, hence the same fingerprint, each time."""
    torch.manual_seed(0)
    return build(narrow(CODECS[config]), config.name).eval()


def victims(folder: Path, configs: list[Path] | None = None) -> list[Victim]:
    """Of each config a short and a long file, each with its length known and unknown, and ten of no model.

    ``folder``: where files are put to be read.
    """
    found = [
        Victim(f"{name} {number}", data, lambda data: decode(data)[1], lambda header: None)
        for number, example in enumerate((duet(), duet(1), image((4, 4)), banded(), audio(1, 2, chunk_seconds=0.5)))
        for name, data in (("known", example.data()), ("open", example.open_data()))
    ]
    for config in CONFIGS if configs is None else configs:
        codec = narrow_codec(config)
        if not codec.sided:  # fuzz_coded.py
            found += _of_codec(config.stem, codec, folder)
    return found


def mutants(corpus: Sequence[Victim], kind: Mutation, rng: random.Random) -> Iterator[tuple[Victim, bytes]]:
    """Files of the corpus in turn, each with what ``kind`` makes of it; never the file itself; without end."""
    others = [victim.data for victim in corpus]
    for victim in cycle(corpus):
        data = victim.data
        while data == victim.data:
            data = kind(victim.data, rng, others)
        yield victim, data


def _of_codec(name: str, codec: Codec, folder: Path) -> list[Victim]:
    identity, path = fingerprint(codec), folder / f"{name}.ncs"

    def read(data: bytes) -> Values:
        path.write_bytes(data)
        codes, _ = read_codes(path, codec, identity)
        return tuple(stream.values[0].numpy() for stream in codes)

    found = []
    for size, shape, levels in (("short", _short(codec), 2), ("long", _long(codec), 1)):
        known = _written(codec, identity, path, drawn(codec, shape, min(levels, codec.quantizer.most_levels)))
        for form, data in (("known", known), ("open", opened(known))):
            found.append(Victim(f"{name} {size} {form}", data, read, lambda header: check_header(codec, header, path)))
    return found


def drawn(codec: Codec, shape: tuple[int, ...], levels: int) -> Codes:
    """Codes as the codec would make them of a signal of ``shape``, with values from nowhere."""
    rng = np.random.default_rng(len(shape))
    streams = []
    for name, alphabet, grid in codec.layouts(shape, levels):
        size = tuple(5 if n == FREE else n for n in grid)
        values = torch.from_numpy(np.stack([rng.integers(0, size_of, size) for size_of in alphabet]))[None]
        streams.append(Stream(name, values, alphabet, (size,)))
    if codec.scaler is not None:
        streams[-1] = scale_stream([torch.tensor([0.1]) for _ in codec.pieces(shape)])
    return Codes(tuple(streams), (shape,))


def _short(codec: Codec) -> tuple[int, ...]:
    """A few hundred bytes of codes at most; of audio 1.2 s, hence two pieces where a piece is a second."""
    return (
        (codec.medium.rate * 6 // 5,)
        if len(codec.encoder.strides) == 1
        else tuple(3 * s + 1 for s in codec.encoder.strides)
    )


def _long(codec: Codec) -> tuple[int, ...]:
    """Audio of more than two chunks; a picture of several rows or tiles."""
    return (
        (codec.medium.rate * 21 + 5,)
        if len(codec.encoder.strides) == 1
        else tuple(9 * s + 5 for s in codec.encoder.strides)
    )


def _written(codec: Codec, identity: bytes, path: Path, codes: Codes) -> bytes:
    shape = codes.shapes[0]
    # of a clip the original's rate is frames per 1000 s
    rate = 25000 if len(shape) == 3 else codec.medium.rate
    info = SignalInfo(rate, codec.medium.channels, shape)
    if len(shape) == 1:  # an original of half the rate, as it would come from another file
        info = SignalInfo(info.rate // 2, 3, (-(-shape[0] // 2), *shape[1:]))
    write_codes(path, codec, codes, info, identity, {"title": "Übung", "name": "a.wav"})
    return path.read_bytes()


def opened(data: bytes, coders: Coders = NO_CODERS) -> bytes:
    """The same chunks as they are written before the length is known."""
    reader, file = Reader(io.BytesIO(data)), io.BytesIO()
    reader.use(coders)
    header = reader.header
    writer = Writer(file, header.closed((UNKNOWN,) * len(header.lengths)), coders=coders)
    for chunk in reader:
        writer.append(chunk)
    writer.finish(header.shape[0], header.original.shape[0] if header.original else None)
    return file.getvalue()
