"""Ways to compute on a GPU that are off unless they are asked for.

    rows    one-axis convolutions keep channels side by side in memory              ``layers.rows``
    fused   chains of pointwise operations are one pass, by Triton kernels          ``layers.fused``

Each is tested on the CPU against torch's own operations, the kernels in Triton's interpreter, and by tests marked
``gpu``. They are asked for by ``gpu_paths`` around the work, in training by ``execution`` of the task.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

from torch import Tensor

from neuralcodecs.errors import CodecError

Path = Literal["rows", "fused"]
PATHS: tuple[Path, ...] = get_args(Path)

_asked: frozenset[str] = frozenset()


@contextmanager
def gpu_paths(paths: Sequence[str]) -> Iterator[None]:
    """Work inside uses these; gradients of it go the way that it went. Raises CodecError for a name not known."""
    global _asked
    unknown = set(paths) - set(PATHS)
    if unknown:
        raise CodecError(f"no GPU path is called {', '.join(sorted(unknown))}: there are {', '.join(PATHS)}")
    before, _asked = _asked, frozenset(paths)
    try:
        yield
    finally:
        _asked = before


def asked(path: Path, x: Tensor) -> bool:
    """Whether work on ``x`` is to go this way."""
    return path in _asked and x.is_cuda
