"""Files that are either whole or absent: written beside their target, synced, renamed; and pipes kept as files."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

MARK = ".neuralcodecs-partial-"


@runtime_checkable
class Incoming(Protocol):
    """What is read of a pipe; ``read`` waits for as many bytes as are asked for, but at the end."""

    def read(self, size: int = ..., /) -> bytes: ...


@runtime_checkable
class Outgoing(Protocol):
    """What is written to a pipe."""

    def write(self, data: bytes | memoryview, /) -> int | None: ...
    def flush(self) -> object: ...


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path``, renamed to it when the block succeeds and removed when it fails.

    The temporary name keeps the suffix, since writers choose formats by it. Same folder, hence same file system: the
    rename is atomic there, and nowhere else.
    """
    temporary = path.with_name(f"{path.stem}{MARK}{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_temporaries(directory: Path) -> None:
    """Remove what killed writers left in ``directory``; a file whose process still runs is left alone."""
    for path in directory.glob(f"*{MARK}*"):
        process = path.name.split(MARK)[1].split("-")[0]
        if not process.isdigit() or not Path(f"/proc/{process}").exists() or int(process) == os.getpid():
            path.unlink(missing_ok=True)


@contextmanager
def spooled(pipe: Incoming, head: bytes = b"") -> Iterator[Path]:
    """A temporary file of ``head``, what was read of a pipe already, and all that is still to come."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "standard-input"
        with path.open("wb") as file:
            file.write(head)
            shutil.copyfileobj(pipe, file)
        yield path


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":  # Windows cannot open a directory
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
