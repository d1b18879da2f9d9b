"""Metadata: names are never paths; what cannot be written is refused, and what is forged too."""

from dataclasses import replace

import pytest
from bitstream_examples import audio, decode

from neuralcodecs.bitstream.metadata import basename, decode_metadata, encode_metadata
from neuralcodecs.errors import CodecError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("speech.wav", "speech.wav"),
        ("/etc/passwd", "passwd"),
        ("../../x.wav", "x.wav"),
        (r"C:\music\ü.flac", "ü.flac"),
        ("..", "_"),
        ("a/", "_"),
        ("", "_"),
        ("a\0b\x1b[2J.wav", "ab[2J.wav"),
        ("con.wav", "_con.wav"),
        ("é" * 200, "é" * 127),
    ],
)
def test_names_are_never_paths(name: str, expected: str) -> None:
    assert basename(name) == expected == basename(expected)
    named = replace(audio(1), header=replace(audio(1).header, metadata={"name": name}))
    assert decode(named.data())[0].metadata == {"name": expected}


def nested(depth: int) -> dict[str, object]:
    return {"a": nested(depth - 1)} if depth > 1 else {"a": 1}


@pytest.mark.parametrize(
    "metadata",
    [
        nested(9),
        {"a": [[[[[[[[]]]]]]]]},
        {"title": "x" * 65536},
        {"title": "a\x1b[31mb"},
        {"title": "\ud800"},
        {"\x07": 1},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 2**63},
        {"a": (1, 2)},
        {"a": {1: 2}},
    ],
    ids=lambda metadata: repr(metadata)[:30],
)
def test_metadata_that_is_refused(metadata: dict[str, object]) -> None:
    with pytest.raises(CodecError):
        encode_metadata(metadata)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":2}',
        b'{"b":{"a":1,"a":1}}',
        b"[1]",
        b"1",
        b"",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"9" * 30 + b"}",
        b'{"a":"\\u001b[2J"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b"[" * 60000,
        b'{"a":' * 9000 + b"1" + b"}" * 9000,
        b'{"a":1} ' + b"x",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_forged_metadata_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError) as caught:
        decode_metadata(data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_metadata_of_depth_eight_is_kept() -> None:
    deep = replace(audio(1), header=replace(audio(1).header, metadata=nested(8)))
    assert deep.equals(*decode(deep.data()))
