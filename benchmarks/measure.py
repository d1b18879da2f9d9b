"""What the speed benchmarks share: medians by CUDA events, peak memory, a floor, a row with the ratio.

A floor is the larger of two times that no version can beat: the operations that must be done over the rate of a large
matrix product, and the bytes that must move over the bandwidth of a large copy, both measured on the device.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

Job = Callable[[], object]
CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")


class Figure(NamedTuple):
    """Median milliseconds of a job, and the GiB that it adds at its peak (CUDA; NaN elsewhere)."""

    ms: float
    gib: float


class Ceilings(NamedTuple):
    """Bytes per second of a copy (read and written) and operations per second of a matrix product in ``dtype``."""

    bandwidth: float
    rate: float
    dtype: torch.dtype

    @staticmethod
    def measured(dtype: torch.dtype = torch.float32) -> "Ceilings":
        size = 2**30 if CUDA else 2**24
        source, target = torch.randn(size // 4, device=DEVICE), torch.empty(size // 4, device=DEVICE)
        side = 8192 if CUDA else 1024
        a, b = (torch.randn(side, side, device=DEVICE, dtype=dtype) for _ in range(2))
        copied, multiplied = clocked(lambda: target.copy_(source)).ms, clocked(lambda: a @ b).ms
        return Ceilings(2 * size / copied * 1e3, 2 * side**3 / multiplied * 1e3, dtype)

    def floor(self, operations: float, size: float) -> float:
        """Milliseconds."""
        return 1e3 * max(operations / self.rate, size / self.bandwidth)

    def __str__(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        return f"copy {self.bandwidth / 1e12:.3f} TB/s, {name} product {self.rate / 1e12:.2f} TFLOP/s"


class _Counter(TorchDispatchMode):
    """``FlopCounterMode`` without its module hooks, which ``autograd.grad`` does not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> object:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def operations(job: Job) -> int:
    """Floating-point operations of convolutions and products in a job, forward and backward; LSTMs are not counted."""
    with _Counter() as counter:
        job()
    return counter.total


def clocked(job: Job, repeats: int = 10, warm_up: int = 3) -> Figure:
    """Median over repeats, after a warm-up, which counts for the memory: a CUDA graph takes its own when recorded."""
    before = 0
    if CUDA:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    for _ in range(warm_up):
        job()
    times = [_once(job) for _ in range(repeats)]
    peak = (torch.cuda.max_memory_allocated() - before) / 2**30 if CUDA else float("nan")
    return Figure(statistics.median(times), peak)


def said(error: Exception) -> str:
    """In a line, for the row of what could not be measured."""
    return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0][:150]}"


def if_installed(measured: Callable[[], Figure]) -> Figure | None:
    """A figure of a published package; None, and a line that says so, where that is not installed."""
    try:
        return measured()
    except ImportError as error:
        print(f"published not measured: {error} (pip install 'neuralcodecs[bench]')")
        return None


def replayed(job: Job) -> Job:
    """The job as a CUDA graph; without CUDA the job itself."""
    if not CUDA:
        return job
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            job()
    torch.cuda.current_stream().wait_stream(stream)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        job()
    return recorded.replay


def _once(job: Job) -> float:
    if not CUDA:
        started = time.perf_counter()
        job()
        return 1e3 * (time.perf_counter() - started)
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    job()
    last.record()
    last.synchronize()
    return first.elapsed_time(last)


def machine() -> str:
    name = torch.cuda.get_device_name() if CUDA else f"CPU, {torch.get_num_threads()} threads"
    return f"{name}, torch {torch.__version__}"


def row(name: str, published: Figure | None, ours: Figure, floor: float | None = None) -> None:
    """One line: both, their ratio, the floor where one is known."""
    memory = f" {ours.gib:6.2f} GiB" if CUDA else ""
    text = f"{name:52s} ours {ours.ms:9.2f} ms{memory}"
    if published is not None:
        memory = f" {published.gib:6.2f} GiB" if CUDA else ""
        text = f"{name:52s} published {published.ms:9.2f} ms{memory}   {text[53:]}   {published.ms / ours.ms:6.2f} x"
    print(text if floor is None else f"{text}   floor {floor:.2f} ms", flush=True)
