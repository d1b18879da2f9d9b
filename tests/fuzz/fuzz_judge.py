"""Whether a program that reads a file from nowhere did what it promises: exact codes, or one line of refusal."""

import signal
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import numpy as np
from conftest import unchecked
from fuzz_corpus import Values, Victim

from neuralcodecs.bitstream import Chunk
from neuralcodecs.bitstream.header import check
from neuralcodecs.bitstream.metadata import encode_metadata
from neuralcodecs.errors import CodecError

SECONDS = 1.0
MEMORY = 64 * 2**20
LONGEST_LINE = 300


class Judge:
    """Reads files and fails at the first that is not read as promised.

    ``accepted``, ``refused``: how many there were. ``slowest``: seconds of processor time. ``largest``: bytes that
    Python and NumPy held at once beyond what they returned, as tracemalloc counts them.
    """

    def __init__(self, victims: Sequence[Victim]) -> None:
        self.written = {victim.data: victim.read(victim.data) for victim in victims}
        self.chunks = {_key(chunk) for victim in victims for chunk in victim.open(victim.data)}
        self.accepted = self.refused = self.largest = 0
        self.slowest = 0.0

    def __call__(self, victim: Victim, data: bytes, forged: bool) -> bool:
        """Whether ``data``, made from the victim, is read.

        AssertionError unless it is refused, or is a file that was written and gives the values that were written, or is
        ``forged`` and whole. Any exception but CodecError passes through.
        """
        values = self._read(victim, data)
        if values is None:
            self.refused += 1
            return False
        self.accepted += 1
        if data in self.written:
            assert _equal(values, self.written[data]), "other values than were written"
        else:
            assert forged, "a damaged file was read"
            check_whole(victim, data, values)
        return True

    def salvage(self, victim: Victim, data: bytes) -> int:
        """How many chunks of a damaged file are saved; AssertionError unless each was written, values and place."""
        try:
            reader = victim.open(data)
            infos = reader.salvage().chunks
        except CodecError:
            return 0
        assert all(_key(reader.read(info)) in self.chunks for info in infos)
        return len(infos)

    def _read(self, victim: Victim, data: bytes) -> Values | None:
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        values = None
        started = time.process_time()
        try:
            with _at_most(2 * SECONDS):
                values = victim.read(data)
        except CodecError as error:
            line = str(error)
            assert line and "\n" not in line and len(line) < LONGEST_LINE, line
        seconds = time.process_time() - started
        honest = sum(array.nbytes for array in values or ())
        memory = tracemalloc.get_traced_memory()[1] - held - honest
        assert seconds < SECONDS, f"{seconds:.2f} s"
        assert memory < MEMORY, f"{memory} bytes"
        self.slowest, self.largest = max(self.slowest, seconds), max(self.largest, memory)
        return values


def check_whole(victim: Victim, data: bytes, values: Values) -> None:
    """AssertionError unless a forged file that was read is one that a writer could have written.

    That is: its header is valid and one of the victim's model, every stream has the header's shape and only symbols of
    its alphabet, and the writer makes the same bytes of the same header and chunks. Metadata may differ in bytes: JSON
    can be put in several ways, and a name loses its folders.
    """
    reader = victim.open(data)
    read = reader.read_all()
    header = reader.header
    check(header)
    victim.check(header)
    assert _equal(values, read)
    for stream, symbols in zip(header.streams, values, strict=True):
        assert symbols.shape == (len(stream.alphabet), *stream.grid)
        for row, size in zip(symbols, stream.alphabet, strict=True):
            assert not row.size or 0 <= row.min() <= row.max() < size
    again = victim.rewritten(data, header)
    if header.metadata is None or encode_metadata(header.metadata) in data:
        assert again == data, "not what a writer writes"
    else:
        reader = victim.open(again)
        assert _equal(reader.read_all(), values) and reader.header == header


@contextmanager
def watched() -> Iterator[None]:
    """Memory is traced, and shapes are not checked."""
    with unchecked():
        tracemalloc.start()
        yield
        tracemalloc.stop()


def _key(chunk: Chunk) -> tuple[object, ...]:
    return (chunk.starts, *((values.shape, values.tobytes()) for values in chunk.values))


def _equal(ours: Values, theirs: Values) -> bool:
    return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """End what hangs with an AssertionError after so much processor time."""
    before = signal.signal(signal.SIGVTALRM, _hangs)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _hangs(number: int, frame: FrameType | None) -> None:
    raise AssertionError("hangs")
