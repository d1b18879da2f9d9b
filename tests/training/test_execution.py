"""Steps as CUDA graphs: the same training as by Python; elsewhere nothing changes."""

import contextlib
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_data, tiny_task, tiny_trainer
from torch import Tensor, nn

from neuralcodecs.audio import NoiseToSignal
from neuralcodecs.layers import recording
from neuralcodecs.layers.paths import PATHS
from neuralcodecs.training import CodecTask, Eager, Graphs, Reconstruct, Weighted
from neuralcodecs.training.combine import WeightedSum
from neuralcodecs.training.execution import Computed, Execution
from neuralcodecs.training.terms import Term


def trained(execution: Execution, folder: Path, steps: int, **settings: Any) -> CodecTask:
    task = tiny_task()
    task.execution = execution
    task.adversary.start = steps // 2
    tiny_trainer(folder, max_steps=steps, **settings).fit(task, tiny_data())
    return task


def weights(task: CodecTask) -> dict[str, Tensor]:
    return {name: value for name, value in task.state_dict().items() if torch.is_tensor(value)}


def test_on_a_cpu_nothing_changes_and_nobody_is_warned(tmp_path: Path) -> None:
    plain = trained(Eager(), tmp_path / "a", 6)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        asked = trained(Graphs(warm_up=1, paths=PATHS), tmp_path / "b", 6)
    assert not [w for w in seen if "CUDA graph" in str(w.message)]
    assert all(torch.equal(value, weights(asked)[name]) for name, value in weights(plain).items())


class Stub:
    """Stands for a graph that is replayed on the batch with which it was recorded, so that its results are there."""

    replays = 0

    def replay(self) -> None:
        Stub.replays += 1


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Stub)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(recording, "_restore", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: 1)
    monkeypatch.setattr(Graphs, "_possible", lambda self, signal: True)
    Stub.replays = 0


class Work(nn.Module):
    """A step with a weight, one that it also finds elsewhere, and one not in use; counts Python's runs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.unused = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(1.0))
        self.known = nn.Parameter(torch.tensor(2.0))
        self.elsewhere, self.runs = (self.known,), 0

    def forward(self, signal: Tensor) -> Computed:
        self.runs += 1
        loss = (self.weight * self.known * self.elsewhere[0] * signal).square().mean()
        return Computed({"loss": Term(loss, 0.5, on_output=True)}, {"usage": signal.mean()[None]}, 0.5 * loss)

    def run(self, execution: Execution, signal: Tensor, key: object = 0, settled: bool = True) -> Computed:
        return execution(self, signal, self, key, settled)


def test_a_replayed_step_gives_terms_figures_and_gradients_of_the_step(stubs: None) -> None:
    signal = torch.randn(2, 1, 5)
    plain, asked, graphs = Work(), Work(), Graphs(warm_up=1)
    for number in range(4):
        expected, got = plain.run(Eager(), signal), asked.run(graphs, signal)
        assert got.terms["loss"][1:] == (0.5, True)
        for a, b in zip(
            (expected.terms["loss"].value, expected.statistics["usage"]),
            (got.terms["loss"].value, got.statistics["usage"]),
            strict=True,
        ):
            assert torch.equal(a, b)
        (expected.total / 2).backward()  # as Lightning does when it accumulates
        (got.total / 2).backward()
        assert torch.allclose(plain.weight.grad, asked.weight.grad) and asked.unused.grad is None
        assert torch.allclose(plain.known.grad, asked.known.grad)
        assert Stub.replays == max(0, number)
    assert asked.runs == 2  # once to warm up, once to record


def test_weights_of_an_lstm_are_recorded_and_stay_where_they_are(stubs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a list of them, and gathers them anew in other memory when it sees others than those in the list."""
    twice = nn.LSTM(3, 4, 2)
    trained = nn.ModuleDict({"a": twice, "b": nn.ModuleList([twice])})
    monkeypatch.setattr(nn.LSTM, "_init_flat_weights", lambda _: pytest.fail("gathered anew"))
    listed, parameters = list(twice._flat_weights), list(trained.parameters())
    asked_for: list[list[Tensor]] = []
    gradients = torch.autograd.grad

    def noted(total: Tensor, inputs: list[Tensor], **settings: Any) -> Any:
        found = gradients(total, inputs, **settings)
        asked_for.append([x for x, gradient in zip(inputs, found, strict=True) if gradient is not None])
        return found

    def compute(signal: Tensor) -> Computed:
        loss = twice(signal)[0].square().mean()
        return Computed({"loss": Term(loss, 1.0)}, {}, loss)

    graphs, signal = Graphs(warm_up=1), torch.randn(5, 2, 3)
    graphs(compute, signal, trained, 0, True).total.backward()
    expected = [p.grad.clone() for p in parameters]
    monkeypatch.setattr(torch.autograd, "grad", noted)
    for _ in range(2):
        trained.zero_grad()
        graphs(compute, signal, trained, 0, True).total.backward()
        torch.testing.assert_close([p.grad for p in parameters], expected)
    assert not set(map(id, asked_for[0])) & set(map(id, parameters)) and len(asked_for[0]) == len(parameters)
    assert all(a is b for a, b in zip(twice._flat_weights, listed, strict=True))
    assert all(a is b for a, b in zip(trained.parameters(), parameters, strict=True))


def test_each_kind_of_step_is_a_graph_and_further_kinds_are_left_to_python(stubs: None) -> None:
    work, graphs = Work(), Graphs(warm_up=1, most=2)
    for _ in range(5):
        for key, length in ((2, 5), (2, 7), (4, 5)):
            work.run(graphs, torch.randn(1, 1, length), key)
    assert Stub.replays == 2 * 4
    assert work.runs == 2 * 2 + 5


def test_nothing_is_recorded_before_codebooks_are_settled(stubs: None) -> None:
    work, graphs = Work(), Graphs(warm_up=1)
    for _ in range(5):
        work.run(graphs, torch.randn(1, 1, 5), settled=False)
    assert Stub.replays == 0 and work.runs == 5


def test_a_step_that_cannot_be_recorded_is_left_to_python_with_a_warning(stubs: None, monkeypatch: Any) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    work, graphs = Work(), Graphs(warm_up=1)
    signal = torch.randn(1, 1, 5)
    work.run(graphs, signal)
    with pytest.warns(UserWarning, match="not replayed as CUDA graphs: operation not permitted when stream"):
        computed = work.run(graphs, signal)
    assert torch.isfinite(computed.total) and work.runs == 2


class Ending:
    """As torch ends a recording that the work has broken: by an error that hides the first."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is not None:
            raise RuntimeError("operation failed due to a previous error during capture")


class Asking(Work):
    """Cannot be recorded, which is the second time that it runs."""

    def forward(self, signal: Tensor) -> Computed:
        if self.runs == 1:
            self.runs += 1
            raise RuntimeError("item() while capturing\nmore")
        return super().forward(signal)


def test_the_warning_tells_the_error_of_the_work_and_not_that_of_ending(stubs: None, monkeypatch: Any) -> None:
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: Ending())
    work, graphs = Asking(), Graphs(warm_up=1)
    signal = torch.randn(1, 1, 5)
    work.run(graphs, signal)
    with pytest.warns(UserWarning, match=r"not replayed as CUDA graphs: item\(\) while capturing$"):
        computed = work.run(graphs, signal)
    assert torch.isfinite(computed.total) and work.runs == 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_after_a_failed_recording_a_gpu_goes_on() -> None:
    """On the stream of before, with random numbers, and with other graphs."""

    def ask(signal: Tensor) -> Computed:
        drawn = torch.rand_like(signal)
        value = (held[0] * drawn).mean() + float(drawn.sum()) * 0
        return Computed({"loss": Term(value, 1.0)}, {}, value)

    held = nn.ParameterList([torch.ones((), device="cuda")])
    signal, graphs, stream = torch.randn(1, 1, 5, device="cuda"), Graphs(warm_up=1), torch.cuda.current_stream()
    graphs(ask, signal, held, 0, True)
    with pytest.warns(UserWarning, match="not replayed as CUDA graphs"):
        graphs(ask, signal, held, 0, True)
    assert torch.cuda.current_stream() == stream
    assert torch.rand(1000, device="cuda").unique().numel() > 900
    with recording.recording(torch.cuda.graph_pool_handle()) as graph:
        drawn = torch.rand(1000, device="cuda")
    graph.replay()
    first = drawn.clone()
    graph.replay()
    assert not torch.equal(first, drawn)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("paths", [(), PATHS])
def test_a_gpu_trains_alike_by_graphs_and_by_python(tmp_path: Path, precision: str, paths: Any) -> None:
    settings: dict[str, Any] = {"accelerator": "gpu", "devices": 1, "precision": precision}
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    plain, again = (trained(Eager(), tmp_path / name, 30, **settings) for name in ("a", "c"))
    execution = Graphs(warm_up=1, paths=paths)
    asked = trained(execution, tmp_path / "b", 30, **settings)
    torch.backends.cudnn.allow_tf32 = allowed
    assert len(execution._recorded) >= 3 and asked.guard.skipped == 0
    # Gradients are summed in any order and codes near ties go either way: Python does not train alike twice. How far
    # two of its runs are apart is the measure, over all directions: a wrong step would be apart by as much as it moved.
    directions = [name for name in weights(plain) if name.endswith("original1")]
    apart, noise = (_distance(weights(plain), weights(other), directions) for other in (asked, again))
    assert apart < 5 * noise + (1e-4 if precision == "32-true" else 1e-2)


def _distance(some: dict[str, Tensor], others: dict[str, Tensor], names: list[str]) -> float:
    squares = [((some[n] - others[n]).norm() / some[n].norm()).square() for n in names]
    return float(torch.stack(squares).mean().sqrt())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("paths", [(), PATHS])
def test_a_replayed_step_is_the_step_on_a_gpu(
    precision: torch.dtype, paths: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same loss and gradients of the same weights on the same batch: no noise of a training between them.

    The loss is a smooth one: signs of differences and logarithms of spectra near zero make 5 % of the rounding of fp32
    in the encoder's gradients (against fp64, on a CPU), of this one 1e-5.
    """
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    task = tiny_task().to("cuda").train()
    task.objective = Reconstruct(Weighted(NoiseToSignal()))
    codebooks = task.codec.quantizer.codebooks
    task.codec.quantizer.load_codebooks(torch.randn_like(codebooks))  # those of a first batch are made by the host
    signal = 0.1 * torch.randn(4, 1, 4800, device="cuda")
    parameters = [*task.codec.encoder.parameters(), *task.codec.decoder.parameters()]

    def compute(signal: Tensor) -> Computed:
        terms, output, statistics = task.objective(task.codec, signal, 2)
        return Computed(terms, statistics, WeightedSum()(terms, output))  # a balancer remembers the steps before

    held = []  # autograd graphs of all steps: recording does not care

    def step(execution: Execution) -> list[Tensor]:
        computed = execution(compute, signal, task, 0, True)
        held.append(computed)
        gradients = torch.autograd.grad(computed.total, parameters, allow_unused=True, retain_graph=True)
        loss = sum(term.value for term in computed.terms.values())
        return [loss.detach(), *(g for g in gradients if g is not None)]

    graphs = Graphs(warm_up=1, paths=paths)
    with torch.autocast("cuda", torch.bfloat16, enabled=precision == torch.bfloat16):
        found = [step(execution) for execution in (graphs, graphs, graphs, Eager())]
    assert len(graphs._recorded) == 1
    tolerance = 1e-5 if precision == torch.float32 else 2e-2
    torch.testing.assert_close(found[2][0], found[3][0], rtol=tolerance, atol=0)
    # a direction of one value has no gradient but for rounding: relative to nothing
    least = 1e-5 * max(b.norm() for b in found[3][1:])
    squares = [
        ((a - b).norm() / b.norm().clamp(min=least)).square() for a, b in zip(found[2][1:], found[3][1:], strict=True)
    ]
    assert torch.stack(squares).mean().sqrt() < (1e-3 if precision == torch.float32 else 5e-2)
