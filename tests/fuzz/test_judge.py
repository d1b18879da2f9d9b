"""The judge of the fuzz tests sees what it is there to see."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from bitstream_examples import audio, decode, duet
from bitstream_forgery import reseal, take_apart
from fuzz_corpus import Values, Victim
from fuzz_judge import MEMORY, Judge, watched

from neuralcodecs.bitstream import Header
from neuralcodecs.errors import CodecError

GOOD = duet().data()
OTHER = audio(1, levels=2).data()


@pytest.fixture(autouse=True)
def _watched() -> Iterator[None]:
    with watched():
        yield


def honest(data: bytes) -> Values:
    return decode(data)[1]


def victim(read: Callable[[bytes], Values], check: Callable[[Header], None] = lambda header: None) -> Victim:
    return Victim("known", GOOD, read, check)


def judge() -> Judge:
    return Judge([victim(honest)])


def hungry(data: bytes) -> Values:
    np.zeros(MEMORY + 2**20, np.uint8)
    raise CodecError("too late")


def hangs(data: bytes) -> Values:
    while True:
        pass


def slow(data: bytes) -> Values:
    started = time.process_time()
    while time.process_time() < started + 1.1:
        pass
    return honest(data)


def wrong(data: bytes) -> Values:
    return tuple(array ^ 1 for array in honest(data))


def verbose(data: bytes) -> Values:
    raise CodecError("two\nlines")


def crashes(data: bytes) -> Values:
    raise ValueError("not enough values to unpack")


def refuses(header: Header) -> None:
    raise CodecError("not mine")


@pytest.mark.parametrize(
    ("read", "said"),
    [(hungry, "bytes"), (hangs, "hangs"), (slow, " s"), (wrong, "other values"), (verbose, "two")],
)
def test_it_fails_where_a_promise_is_broken(read: Callable[[bytes], Values], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        judge()(victim(read), GOOD, False)


def test_other_exceptions_pass_through() -> None:
    with pytest.raises(ValueError, match="unpack"):
        judge()(victim(crashes), GOOD, False)


def test_a_file_that_nobody_wrote_is_accepted_where_it_is_forged_and_whole_only() -> None:
    assert judge()(victim(honest), GOOD, False)
    assert not judge()(victim(honest), GOOD[:-1], False)
    with pytest.raises(AssertionError, match="a damaged file was read"):
        judge()(victim(honest), OTHER, False)
    assert judge()(victim(honest), OTHER, True)
    with pytest.raises(CodecError, match="not mine"):
        judge()(victim(honest, refuses), OTHER, True)


def test_what_no_writer_writes_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge()(victim(honest), retitled(b"\xc3\x9c"), False)
    assert judge()(victim(honest), retitled(b"Uu"), True)
    assert judge()(victim(honest), retitled(b"\\n"), True)
    monkeypatch.setattr(Victim, "rewritten", lambda victim, data, header: GOOD)
    for title in (b"Uu", b"\\n"):
        with pytest.raises(AssertionError):
            judge()(victim(honest), retitled(title), True)


def retitled(title: bytes) -> bytes:
    parts = take_apart(GOOD)
    return reseal(parts._replace(body=parts.body.replace("Ü".encode(), title)))


def test_salvaged_chunks_must_have_been_written() -> None:
    assert (
        judge().salvage(victim(honest), GOOD) == 2
        and judge().salvage(victim(honest), GOOD[:-20]) == 1
        and judge().salvage(victim(honest), b"") == 0
    )
    with pytest.raises(AssertionError):
        judge().salvage(victim(honest), OTHER)
