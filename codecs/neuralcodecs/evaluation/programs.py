"""Programs of others, run with a time limit and an error in one line."""

import subprocess
from collections.abc import Sequence

from neuralcodecs.errors import CodecError

TIMEOUT = 600
"""Seconds after which a program is given up."""


def run_program(command: Sequence[str], name: str) -> str:
    """What ``command`` prints; CodecError naming ``name`` where it fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise CodecError(f"{name}: {command[0]} took more than {TIMEOUT} s") from error
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())[-200:]
        raise CodecError(f"{name}: {command[0]} failed with status {done.returncode} ({reason})")
    return done.stdout or done.stderr
