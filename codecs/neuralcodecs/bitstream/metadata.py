"""The optional metadata of a file: one small JSON object, checked on both sides, whose name is never a path."""

import json
import math
import unicodedata
from collections.abc import Iterator

from neuralcodecs.bitstream.limits import METADATA_BYTES, METADATA_DEPTH
from neuralcodecs.errors import CodecError

Metadata = dict[str, object]
"""Null, booleans, integers below 2**63 in size, finite numbers, strings, lists and objects of these."""

NAME_KEY = "name"
LONGEST_NAME = 255
LARGEST_INTEGER = 2**63
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}


def encode_metadata(metadata: Metadata) -> bytes:
    """Compact UTF-8 JSON; ``name`` loses its folders and control characters.

    CodecError for what ``decode_metadata`` would refuse.
    """
    metadata = _named(metadata)
    _check(metadata)
    data = json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode()
    if len(data) > METADATA_BYTES:
        raise CodecError(f"metadata takes {len(data)} bytes, at most {METADATA_BYTES} are allowed: leave something out")
    return data


def decode_metadata(data: bytes) -> Metadata:
    """A JSON object of bounded depth, without duplicate keys, control characters or infinite numbers."""
    try:
        metadata = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"metadata is not valid JSON: {str(error)[:80]!a}") from None
    if not isinstance(metadata, dict):
        raise CodecError("metadata is not a JSON object")
    _check(metadata)
    return _named(metadata)


def basename(name: str) -> str:
    """A file name without folders and control characters, not a Windows device, at most 255 bytes.

    For display only: whoever writes a file chooses its name.
    """
    name = "".join(c for c in name.replace("\\", "/").rsplit("/", 1)[-1] if not _is_control(c))
    if name.split(".", 1)[0].strip().upper() in DEVICES:
        name = "_" + name
    name = name.encode()[:LONGEST_NAME].decode(errors="ignore")
    return name if name.strip(". ") else "_"


def _named(metadata: Metadata) -> Metadata:
    name = metadata.get(NAME_KEY)
    return {**metadata, NAME_KEY: basename(name)} if isinstance(name, str) else metadata


def _unique(pairs: list[tuple[str, object]]) -> Metadata:
    metadata = dict(pairs)
    if len(metadata) != len(pairs):
        raise ValueError("a key is given twice")
    return metadata


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _check(metadata: Metadata) -> None:
    for value, depth in _values(metadata):
        match value:
            case None | bool():
                fault = ""
            case int():
                fault = "" if abs(value) < LARGEST_INTEGER else "an integer of more than 63 bits"
            case float():
                fault = "" if math.isfinite(value) else f"the number {value}"
            case str():
                fault = f"a control character in {value[:40]!a}" if any(map(_is_text_control, value)) else ""
            case dict() if not all(isinstance(key, str) for key in value):
                fault = "a key that is not a string"
            case dict() | list():
                fault = "" if depth <= METADATA_DEPTH else f"values nested deeper than {METADATA_DEPTH}"
            case _:
                fault = f"a value of type {type(value).__name__}"
        if fault:
            raise CodecError(f"metadata holds {fault}: leave it out")


def _is_text_control(character: str) -> bool:
    return character not in "\n\t" and _is_control(character)


def _values(root: Metadata) -> Iterator[tuple[object, int]]:
    """Every key and value with the depth of containers there, without recursion."""
    pending: list[tuple[object, int]] = [(root, 1)]
    while pending:
        value, depth = pending.pop()
        yield value, depth
        match value:
            case dict():
                pending += [(key, depth) for key in value] + [(item, depth + 1) for item in value.values()]
            case list():
                pending += [(item, depth + 1) for item in value]
