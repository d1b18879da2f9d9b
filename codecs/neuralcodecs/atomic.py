"""Files that are either whole or absent: written beside their target, synced, renamed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MARK = ".neuralcodecs-partial-"


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


def _sync_directory(directory: Path) -> None:
    if os.name != "posix":  # Windows cannot open a directory
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
