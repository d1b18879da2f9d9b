"""Exact reading and writing of bytes and variable-length integers (LEB128, as in DWARF and WebAssembly)."""

import os
import re
import zlib
from typing import Protocol, runtime_checkable

from neuralcodecs.errors import CodecError

VARINT_BYTES = 9
LARGEST_INTEGER = 2**63 - 1
BLOCK = 2**20


@runtime_checkable
class ByteSink(Protocol):
    """What writing needs of a binary file, pipe or buffer."""

    def write(self, data: bytes | memoryview, /) -> int | None: ...


@runtime_checkable
class ByteSource(Protocol):
    """What reading needs of a binary file, pipe or buffer."""

    def read(self, size: int = ..., /) -> bytes: ...
    def seekable(self) -> bool: ...
    def seek(self, offset: int, whence: int = ..., /) -> int: ...
    def tell(self) -> int: ...


def varint(value: int) -> bytes:
    """An unsigned integer below 2**63 in as few groups of seven bits as it needs, lowest group first."""
    if not 0 <= value <= LARGEST_INTEGER:
        raise CodecError(f"{value} cannot be written to a file: integers are 0 to 2**63 - 1")
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def write_all(file: ByteSink, data: bytes) -> None:
    """Write every byte, also to an unbuffered pipe that takes a part at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


class Source:
    """Reads a file forward, counts its bytes and keeps the CRC-32 of what was read.

    Never takes more memory than the file has bytes: a file that can seek is measured first, a pipe read in blocks.
    """

    def __init__(self, file: ByteSource) -> None:
        self.offset = 0
        self.crc = 0
        self.size: int | None = None
        self._file = file
        self._base = 0
        if file.seekable():
            self._base = file.tell()
            self.size = file.seek(0, os.SEEK_END) - self._base
            file.seek(self._base)

    def take(self, count: int, what: str) -> bytes:
        """Exactly ``count`` bytes; CodecError naming ``what`` when the file ends before."""
        data = b""
        if self.size is None or self.offset + count <= self.size:
            data = self._file.read(min(count, BLOCK))
            if len(data) < count:
                data = self._take_blocks(data, count)
        if len(data) < count:
            raise CodecError(f"the file ends inside {what}: it is truncated or damaged")
        self.offset += count
        self.crc = zlib.crc32(data, self.crc)
        return data

    def varint(self, what: str, most: int) -> int:
        """An integer of at most ``most``, in its shortest form."""
        value = 0
        for group in range(VARINT_BYTES):
            byte = self.take(1, what)[0]
            value |= (byte & 0x7F) << 7 * group
            if byte < 0x80:
                break
        if byte >= 0x80 or (byte == 0 and group):
            raise CodecError(f"{what} is not an integer in its shortest form: the file is damaged")
        if value > most:
            raise CodecError(f"{what} is {value}, more than {most}: the file is damaged or forged")
        return value

    def check(self, what: str) -> int:
        """Read a CRC-32 field and compare it with the CRC of all bytes since ``crc`` was last set; returns it."""
        computed = self.crc
        if int.from_bytes(self.take(4, f"the CRC of {what}"), "little") != computed:
            raise CodecError(f"{what} is damaged: its CRC-32 differs")
        return computed

    def seek(self, offset: int) -> None:
        """Go to a byte counted from where the file stood when it was given; CodecError beyond its end."""
        if self.size is None:
            if offset == self.offset:
                return
            raise CodecError("this input cannot seek: read its chunks once, in order, or write it to a file first")
        if offset > self.size:
            raise CodecError(f"the file ends at byte {self.size}, before byte {offset}: it is truncated or damaged")
        self._file.seek(self._base + offset)
        self.offset = offset

    def find(self, pattern: re.Pattern[bytes], offset: int) -> int:
        """Where the first match of a two-byte ``pattern`` at or after ``offset`` begins; the file's size if nowhere."""
        self.seek(offset)
        position, last = offset, b""
        while block := self._file.read(BLOCK):
            match = pattern.search(last + block)
            if match:
                position += match.start() - len(last)
                break
            position += len(block)
            last = block[-1:]
        self.seek(position)
        return position

    def end(self) -> None:
        """CodecError unless the file ends here."""
        if self._file.read(1):
            raise CodecError(f"bytes follow the end of the file at byte {self.offset}: it is damaged or not one file")

    def _take_blocks(self, data: bytes, count: int) -> bytes:
        blocks, missing = [data], count - len(data)
        while missing:
            block = self._file.read(min(missing, BLOCK))
            if not block:
                break
            blocks.append(block)
            missing -= len(block)
        return b"".join(blocks)
