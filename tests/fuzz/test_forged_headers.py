"""Files with right CRCs and a model's fingerprint, but a header that it never writes: refused before any work."""

import math
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import unchecked
from fuzz_corpus import CONFIGS, drawn, narrow_codec

from neuralcodecs import Codec
from neuralcodecs.bitstream import Chunk, Header, Original, StreamSpec, Writer, split, write
from neuralcodecs.bitstream.limits import AXES
from neuralcodecs.errors import CodecError
from neuralcodecs.files import checked_header, decode_file, open_codes, read_codes
from neuralcodecs.pretrained import fingerprint
from neuralcodecs.spans import salvage


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda path: path.stem)
def codec(request: pytest.FixtureRequest) -> Iterator[Codec]:
    with unchecked():
        yield narrow_codec(request.param)


def honest(codec: Codec) -> Header:
    """Of a signal of three strides and a sample, at one level."""
    shape = tuple(3 * stride + 1 for stride in codec.encoder.strides)
    streams = tuple(StreamSpec(s.name, tuple(s.alphabet), s.grids[0]) for s in drawn(codec, shape, 1))
    return Header(fingerprint(codec), codec.medium.rate, codec.medium.channels, shape, streams)


def forgeries(header: Header) -> Iterator[tuple[str, Header]]:
    main, *side = header.streams
    more = (header.shape[0] + 1, *header.shape[1:])
    yield "another rate", replace(header, rate=header.rate + 1)
    yield "other channels", replace(header, channels=header.channels + 1)
    if len(header.shape) < AXES:
        yield "an axis more", replace(header, shape=(*header.shape, 5))
        yield "an axis more in the grid", replace(header, streams=(replace(main, grid=(*main.grid, 5)), *side))
    yield "a longer signal", replace(header, shape=(header.shape[0] + 10**4, *header.shape[1:]))
    yield "an empty signal", replace(header, shape=(0, *header.shape[1:]))
    yield "an empty grid", replace(header, streams=(replace(main, grid=(0, *main.grid[1:])), *side))
    yield "another alphabet", replace(header, streams=(replace(main, alphabet=(main.alphabet[0] + 1,)), *side))
    times = (1024 - sum(len(stream.alphabet) for stream in side)) // len(main.alphabet)  # as many as a file may have
    yield "more codebooks", replace(header, streams=(replace(main, alphabet=main.alphabet * times), *side))
    yield "another name", replace(header, streams=(replace(main, name="tokens"), *side))
    yield "another stream", replace(header, streams=(main, *side, StreamSpec("more", (2,), (1,))))
    yield "a longer original", replace(header, original=Original(header.rate, header.channels, more))
    large = (2**26 // math.prod(header.shape[1:]), *header.shape[1:])
    yield "an original of 256 MiB", replace(header, original=Original(header.rate, 1, large))
    yield "an empty original", replace(header, original=Original(header.rate, 1, (0, *header.shape[1:])))
    yield "an original at 1 Hz", replace(header, original=Original(1, 1, header.shape))


NAMES = [name for name, _ in forgeries(Header(b"", 24000, 1, (1,), (StreamSpec("codes", (2,), (1,)),)))]


def put(path: Path, header: Header) -> Path:
    """A file of this header with codes that fit it."""
    rng = np.random.default_rng(0)
    values = [np.stack([rng.integers(0, size, s.grid) for size in s.alphabet]) for s in header.streams]
    empty = all(not array.size for array in values)
    chunks: list[Chunk] = [] if empty else list(split(header, values))
    with path.open("wb") as file:
        write(file, header, chunks)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_header_of_no_codec_is_refused_by_every_reader(name: str, codec: Codec, tmp_path: Path) -> None:
    forged = dict(forgeries(honest(codec)))
    if name not in forged:
        assert len(codec.encoder.strides) == AXES, "only of a signal with all axes a file can have"
        return
    path = put(tmp_path / "a.ncs", forged[name])
    for read in (_whole, _span, _salvaged):
        with pytest.raises(CodecError, match=r"a\.ncs|intact|decoded whole") as refusal:
            read(codec, path)
        assert "\n" not in str(refusal.value)


def test_scales_that_no_encoder_measures_are_refused(codec: Codec, tmp_path: Path) -> None:
    header = honest(codec)
    if codec.scaler is None:
        assert "scale" not in [stream.name for stream in header.streams]
        return
    for scale in (np.nan, np.inf, -1.0, 0.0):
        pattern = np.array([[np.float32(scale).view(np.uint32)]], np.int64)
        chunk = Chunk((0, 0), (np.zeros((1, *header.streams[0].grid), np.int64), pattern))
        with (tmp_path / "a.ncs").open("wb") as file:
            write(file, header, [chunk])
        for read in (_decoded, _salvaged):
            with pytest.raises(CodecError, match="no encoder writes"):
                read(codec, tmp_path / "a.ncs")
        assert not (tmp_path / "out.wav").exists()


def _whole(codec: Codec, path: Path) -> None:
    read_codes(path, codec)


def _decoded(codec: Codec, path: Path) -> None:
    decode_file(codec, path, path.with_name("out.wav"))


def _span(codec: Codec, path: Path) -> None:
    with open_codes(path) as reader:
        checked_header(codec, reader, path, fingerprint(codec))


def _salvaged(codec: Codec, path: Path) -> None:
    with open_codes(path) as reader:
        salvage(codec, reader, path)


def bombs(codec: Codec, folder: Path) -> Iterator[Path]:
    """A few hundred bytes each."""
    header = honest(codec)
    main, *side = header.streams
    # 128 MiB of symbols without bits, all there: only the model knows that it has no such alphabet
    free = StreamSpec("codes", (1,) * 60, (2**18 // main.row, *main.grid[1:]))
    yield put(folder / "a.ncs", replace(header, streams=(free, *side)))
    if header.rate:
        day = (header.rate * 86400,)
        streams = (replace(main, grid=codec.grid(day)), *side)
        header = replace(header, shape=day, streams=streams)
        with (folder / "b.ncs").open("wb") as file:
            Writer(file, header)
        yield folder / "b.ncs"


def test_bombs_of_a_model(codec: Codec, tmp_path: Path) -> None:
    """Refused in less than 50 ms of processor time, the best of three, and in 10 MB: 15 for a hyperprior."""
    for path in bombs(codec, tmp_path):
        assert path.stat().st_size < 1000
        identity = fingerprint(codec)
        assert min(_refusing(codec, path, identity) for _ in range(3)) < 0.05
        tracemalloc.start()
        _refusing(codec, path, identity)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < (15_000_000 if codec.sided else 10_000_000)


def _refusing(codec: Codec, path: Path, identity: bytes) -> float:
    started = time.process_time()
    with pytest.raises(CodecError):
        read_codes(path, codec, identity)
    return time.process_time() - started
