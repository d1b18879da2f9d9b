"""Work on tensors of few shapes, recorded as CUDA graphs and replayed."""

import gc
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from neuralcodecs.layers.recording import recording

MOST_SHAPES = 8
"""Graphs that a work keeps; each holds the memory of one batch."""

Work = Callable[..., tuple[Tensor, ...]]


class Recorded(NamedTuple):
    inside: tuple[Tensor, ...]
    outside: tuple[Tensor, ...]
    graph: torch.cuda.CUDAGraph


class GraphPerShape:
    """One graph for each key and shape; of more than ``MOST_SHAPES`` the least used are forgotten."""

    def __init__(self) -> None:
        self._recorded: OrderedDict[Hashable, Recorded] = OrderedDict()

    def __len__(self) -> int:
        return len(self._recorded)

    def __call__(self, work: Work, inputs: tuple[Tensor, ...], key: Hashable = None) -> tuple[Tensor, ...]:
        """What ``work(*inputs)`` gives, on CUDA; valid until the next call, whose replay overwrites it.

        Args:
            work: launches the same kernels for all inputs of one shape and key, on weights that stay where they are.
            inputs: seen by the work as contiguous copies.
            key: what else the work depends on.

        Raises:
            RuntimeError: it asks the host, so it cannot be recorded.
        """
        kind = (key, *((x.shape, x.dtype) for x in inputs))
        if kind not in self._recorded:
            self._recorded[kind] = _record(work, inputs)
            if len(self._recorded) > MOST_SHAPES:
                self._recorded.popitem(last=False)
        self._recorded.move_to_end(kind)
        inside, outside, graph = self._recorded[kind]
        for mine, given in zip(inside, inputs, strict=True):
            mine.copy_(given)
        graph.replay()
        return outside


def _record(work: Work, inputs: tuple[Tensor, ...]) -> Recorded:
    inside = tuple(x.clone(memory_format=torch.contiguous_format) for x in inputs)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            work(*inside)
        with _no_questions():  # before recording: a recording that fails costs more
            work(*inside)
    torch.cuda.current_stream().wait_stream(stream)
    gc.collect()  # a graph that nobody holds any more must not be destroyed while another is recorded
    with recording(torch.cuda.graph_pool_handle()) as graph:
        outside = work(*inside)
    return Recorded(inside, outside, graph)


@contextmanager
def _no_questions() -> Iterator[None]:
    """Work inside raises RuntimeError where it waits for the device."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():  # that it does not see all of them
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
