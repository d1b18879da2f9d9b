"""The command ``neuralcodecs`` and the entry of ``train.py``; each command imports only what it needs."""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from neuralcodecs.cli.parser import make_parser
from neuralcodecs.cli.status import FAILED, INTERRUPTED, REFUSED, TERMINATED
from neuralcodecs.errors import CodecError

__all__ = ["main", "train"]


class Terminated(BaseException):
    """SIGTERM as an exception, so that whatever is being written is removed on the way out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (``neuralcodecs --help`` lists them)."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # titles and file names may have characters that a terminal lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    options = make_parser().parse_args(arguments)
    with _terminable():
        return _guarded(lambda: options.run(options))


def train(arguments: list[str] | None = None) -> None:
    """What ``train.py`` calls: fit, validate or test from a config."""
    from neuralcodecs.training.run import main as run

    status = _guarded(lambda: run(arguments))
    if status:
        sys.exit(status)


def _guarded(command: Callable[[], int | None]) -> int:
    try:
        status = command() or 0
        sys.stdout.flush()
    except CodecError as error:
        return _refuse(str(error))
    except BrokenPipeError:
        # whoever read our output has gone: nothing to say, and Python must not try to flush again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return _refuse(f"{error.filename or 'output'}: {error.strerror or error}")
    except MemoryError:
        return _refuse("out of memory: use a smaller --batch or split the input")
    except KeyboardInterrupt:
        print("neuralcodecs: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Terminated:
        print("neuralcodecs: terminated", file=sys.stderr)
        return TERMINATED
    return status


def _refuse(reason: str) -> int:
    print(f"neuralcodecs: {' '.join(reason.splitlines())}", file=sys.stderr)
    return REFUSED


@contextmanager
def _terminable() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
