"""CUDA graphs whose recording may fail: the device stays usable, and the error says what the work did.

torch 2.11 hides the work's error behind that of ending the capture, and leaves three things as they were in it: the
current stream, the generator (every random operation then fails) and the memory pool.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import torch

_FAILED: list[torch.cuda.CUDAGraph] = []  # torch's allocators may go on asking them whether a stream is theirs


@contextmanager
def recording(
    pool: Any, errors: Literal["global", "thread_local", "relaxed"] = "global"
) -> Iterator[torch.cuda.CUDAGraph]:
    """Work inside is recorded in the graph and not run.

    Args:
        pool: of ``torch.cuda.graph_pool_handle``; graphs of one pool share their memory.
        errors: what other threads may do meanwhile, as ``torch.cuda.graph`` has it.

    Raises:
        RuntimeError: in one line, what of the work cannot be recorded.
    """
    before, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
    first: Exception | None = None
    try:
        with torch.cuda.graph(graph, pool=pool, capture_error_mode=errors):
            try:
                yield graph
            except Exception as error:
                first = error
                raise
    except Exception as error:
        cause = first or error
        _FAILED.append(graph)
        _restore(before, pool)
        raise RuntimeError((str(cause).strip() or type(cause).__name__).splitlines()[0]) from cause


def _restore(stream: torch.cuda.Stream, pool: Any) -> None:
    torch.cuda.set_stream(stream)
    with suppress(RuntimeError):  # already ended, where only the work has failed
        torch._C._cuda_endAllocateToPool(stream.device_index, pool)
        torch._C._cuda_releasePool(stream.device_index, pool)
    # a recording that ends well takes the generator out, too
    with suppress(RuntimeError), torch.cuda.graph(torch.cuda.CUDAGraph(), capture_error_mode="thread_local"):
        torch.zeros(1, device=stream.device)
    torch.cuda.set_stream(stream)
    torch.cuda.synchronize()
