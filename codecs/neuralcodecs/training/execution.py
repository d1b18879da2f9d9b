"""How the work of a training step is launched: by Python, kernel after kernel, or recorded once and replayed.

A step of a small codec is thousands of kernels that a GPU finishes sooner than Python can launch them. A CUDA graph of
all of them (forward, losses, game, balance, gradients) is one launch: the same kernels on the same numbers. What is
recorded cannot ask the host anything, so whatever Python decides in a step is part of the graph's key.
"""

import gc
import operator
import warnings
import weakref
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neuralcodecs.layers.paths import Path, gpu_paths
from neuralcodecs.layers.recording import recording
from neuralcodecs.training.terms import Term, Terms


class Computed(NamedTuple):
    """What a batch gives: its terms, figures of the codebooks, and the scalar whose gradient the optimizer takes."""

    terms: Terms
    statistics: dict[str, Tensor]
    total: Tensor


Compute = Callable[[Tensor], Computed]
"""The work of a step on a batch of signals. It changes nothing but buffers, and those in place."""


class Execution(ABC):
    """One way to run the work of a step."""

    @abstractmethod
    def __call__(self, compute: Compute, signal: Tensor, trained: nn.Module, key: Hashable, settled: bool) -> Computed:
        """``compute(signal)``, its total differentiable in the parameters of ``trained`` that ask for gradients.

        ``key``: what Python has decided about this step; equal keys and shapes launch equal work, once it is
        ``settled``: before, codebooks are still being initialised.
        """


class Eager(Execution):
    """By Python.

    Args:
        paths: ways to compute on a GPU that are off by default (``neuralcodecs.layers.paths``).
    """

    def __init__(self, paths: tuple[Path, ...] = ()) -> None:
        self.paths = tuple(paths)

    def __call__(self, compute: Compute, signal: Tensor, trained: nn.Module, key: Hashable, settled: bool) -> Computed:
        with gpu_paths(self.paths):
            return compute(signal)


class Graphs(Execution):
    """As CUDA graphs, one for each key and shape, after it has been run by Python a few times.

    On other devices, and where a step cannot be recorded, by Python; a warning says why. All graphs share their memory,
    which is about that of the largest step. Weights must stay where they are, as optimizers and checkpoints leave them.
    Processes that train together (``ddp``) sum the gradients of a replayed step as they do those of any other.

    Args:
        warm_up: times that Python runs each kind of step first, at least 1.
        most: graphs; further kinds of steps are left to Python.
        paths: ways to compute on a GPU that are off by default (``neuralcodecs.layers.paths``).
    """

    def __init__(self, warm_up: int = 3, most: int = 24, paths: tuple[Path, ...] = ()) -> None:
        self.paths = tuple(paths)
        self.warm_up = max(1, warm_up)
        self.most = most
        self._seen: Counter[Hashable] = Counter()
        self._recorded: dict[Hashable, _Recorded] = {}
        self._pool: Any = None
        self._off = False

    def __call__(self, compute: Compute, signal: Tensor, trained: nn.Module, key: Hashable, settled: bool) -> Computed:
        with gpu_paths(self.paths):
            return self._run(compute, signal, trained, key, settled)

    def _run(self, compute: Compute, signal: Tensor, trained: nn.Module, key: Hashable, settled: bool) -> Computed:
        if not settled or not self._possible(signal):
            return compute(signal)
        kind = (key, tuple(signal.shape), signal.dtype, torch.is_autocast_enabled(signal.device.type))
        if kind not in self._recorded:
            self._seen[kind] += 1
            if self._seen[kind] <= self.warm_up or len(self._recorded) >= self.most:
                return compute(signal)
            try:
                self._pool = self._pool or torch.cuda.graph_pool_handle()
                self._recorded[kind] = _Recorded(compute, signal, trained, self._pool)
            except RuntimeError as error:
                self._stop(str(error))
                return compute(signal)
        return self._recorded[kind].replay(signal)

    def _possible(self, signal: Tensor) -> bool:
        if self._off:
            return False
        if signal.device.type != "cuda":
            self._off = True  # silently: configs that ask for graphs are used on CPUs too
        return not self._off

    def _stop(self, reason: str) -> None:
        self._off = True
        warnings.warn(f"steps are not replayed as CUDA graphs: {reason}", stacklevel=3)


class _Recorded:
    """One graph, the memory that it reads and writes, and what the host knows of the step."""

    def __init__(self, compute: Compute, signal: Tensor, trained: nn.Module, pool: Any) -> None:
        self.signal = signal.clone()
        self.parameters = [p for p in trained.parameters() if p.requires_grad]
        gc.collect()  # a graph that nobody holds any more must not be destroyed while another is recorded
        torch.cuda.synchronize()
        # other threads (pinning of batches) may go on with theirs meanwhile
        with recording(pool, "thread_local") as self.graph:
            # Gradients wait for the stream on which a weight was first used, and recording cannot: ``ddp`` keeps each
            # weight's end of them. Aliases of the weights are first used here.
            aliases = [p.detach().requires_grad_() for p in self.parameters]
            with _used(trained, aliases, self.parameters):
                computed = compute(self.signal)
            found = _gradients(computed.total, aliases, self.parameters)
            self.total = computed.total.detach()
            self.values = torch.stack([term.value.detach().float() for term in computed.terms.values()])
        self.gradients = [gradient for gradient in found if gradient is not None]
        self.reached = [gradient is not None for gradient in found]
        self.terms = {name: (term.weight, term.on_output) for name, term in computed.terms.items()}
        self.statistics = {name: value.detach() for name, value in computed.statistics.items()}

    def replay(self, signal: Tensor) -> Computed:
        """Clones leave the graph's memory to the next replay."""
        self.signal.copy_(signal)
        self.graph.replay()
        values = self.values.clone().unbind()
        terms = {name: Term(v, *rest) for v, (name, rest) in zip(values, self.terms.items(), strict=True)}
        total = _Replayed.apply(self, *self.parameters)
        return Computed(terms, {name: value.clone() for name, value in self.statistics.items()}, total)


@contextmanager
def _used(module: nn.Module, others: Sequence[Tensor], parameters: Sequence[Tensor]) -> Iterator[None]:
    """Inside, the module has the others in place of its parameters."""
    place = {id(parameter): other for parameter, other in zip(parameters, others, strict=True)}
    before: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for owner in module.modules():
            held: dict[str, Any]
            for held in (owner._parameters, vars(owner)):
                for name, value in list(held.items()):
                    if (other := _in_place_of(value, place)) is not value:
                        before.append((held, name, value))
                        held[name] = other
        yield
    finally:
        for held, name, value in before:
            held[name] = value


def _in_place_of(value: Any, place: dict[int, Tensor]) -> Any:
    """Of a parameter the other one; also in a list and behind weak references.

    ``nn.LSTM`` has both, and where they are not its parameters it moves these to other memory.
    """
    if isinstance(value, list):
        items = [_in_place_of(item, place) for item in value]
        return items if any(map(operator.is_not, items, value)) else value
    if isinstance(value, weakref.ref):
        other = place.get(id(value()))
        return value if other is None else weakref.ref(other)
    return place.get(id(value), value)


def _gradients(total: Tensor, aliases: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor | None]:
    """By alias, or by the weight itself where the work has found it elsewhere than in the module."""
    found = torch.autograd.grad(total, [*aliases, *weights], allow_unused=True)
    pairs = zip(found[: len(aliases)], found[len(aliases) :], strict=True)
    return [b if a is None else a if b is None else a + b for a, b in pairs]


class _Replayed(torch.autograd.Function):
    """The total of a replayed graph; its gradients are those that the graph has computed."""

    @staticmethod
    def forward(ctx: Any, recorded: _Recorded, *parameters: Tensor) -> Tensor:
        ctx.recorded = recorded
        return recorded.total.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        recorded = ctx.recorded
        scaled = iter(torch._foreach_mul(recorded.gradients, gradient))
        return (None, *(next(scaled) if reached else None for reached in recorded.reached))
