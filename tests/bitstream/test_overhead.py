"""Bytes that a file takes beyond its symbols; docs/format.md states the same figures."""

import pytest
from bitstream_examples import audio, image


@pytest.mark.parametrize(
    ("grid", "alphabet", "stride"),
    [((1, 1), 2, 8), ((16, 16), 16384, 16), ((32, 32), 1024, 8), ((256, 256), 2**18, 16), ((250, 256), 64000, 32)],
)
def test_picture_of_one_chunk_and_one_stream(grid: tuple[int, int], alphabet: int, stride: int) -> None:
    bits = grid[0] * grid[1] * (alphabet - 1).bit_length()
    assert len(image(grid, alphabet, stride).data()) <= (bits + 7) // 8 + 48


def test_ten_seconds_at_six_kilobits() -> None:
    assert len(audio(10).data()) <= 7500 * 1.015
    assert len(audio(10).open_data()) <= 7500 * 1.015


# 10-bit codes, 75 frames per second, chunks of 10 s
@pytest.mark.parametrize(
    ("levels", "seconds", "payload", "closed", "opened"),
    [
        (2, 1, 188, 42, 53),
        (8, 1, 750, 42, 53),
        (2, 10, 1875, 44, 55),
        (8, 10, 7500, 44, 55),
        (2, 3600, 675_000, 4704, 4704),
        (8, 3600, 2_700_000, 4704, 4704),
    ],
)
def test_speech(levels: int, seconds: int, payload: int, closed: int, opened: int) -> None:
    speech = audio(seconds, levels)
    extra = len(speech.data()) - payload, len(speech.open_data()) - payload
    print(f"{levels * 0.75} kbit/s, {seconds} s: {extra[0]} and {extra[1]} bytes beyond {payload}")
    assert extra == (closed, opened)
    assert max(extra) <= payload * 0.01 + 64
