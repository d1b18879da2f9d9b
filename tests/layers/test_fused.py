"""Chains of pointwise operations in one pass: torch's values and gradients; kernels in Triton's interpreter."""

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neuralcodecs.layers import fused
from neuralcodecs.layers.fused import biased, biased_leaky, cut, inputs_only, l1_distance
from neuralcodecs.layers.paths import gpu_paths

KERNELS = """
import torch
torch.manual_seed(0)
from neuralcodecs.layers.fused_kernels import biased_leaky_, l1_gradient, l1_sums, leaky_gradients, snake
from neuralcodecs.layers.fused_kernels import snake_gradients
for shape in ((2, 8, 3, 700), (1, 3, 1, 1), (2, 5, 0, 4)):
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    bias, wanted = torch.randn(shape[1]), None
    wanted = torch.nn.functional.leaky_relu(x + bias.view(1, -1, 1, 1), 0.2)
    for kept in {shape[-1], 1}:
        y = x.clone()
        biased_leaky_(y, bias, 0.2, kept)
        torch.testing.assert_close(y[..., :kept], wanted[..., :kept])
        assert not y[..., kept:].any()
        upstream, known = torch.randn_like(y), torch.arange(shape[-1]) < kept
        upstream[..., kept:] = torch.nan
        inside, at_bias = leaky_gradients(upstream, y, 0.2, kept, True)
        through = torch.where(known, upstream * torch.where(y > 0, 1.0, 0.2), 0.0)
        torch.testing.assert_close(inside, through)
        torch.testing.assert_close(at_bias, through.sum((0, 2, 3)), rtol=1e-4, atol=1e-4)  # summed in another order
        again, nothing = leaky_gradients(upstream, y, 0.2, kept, False)
        assert torch.equal(again, inside) and nothing is None
x, bias = torch.randn(2, 5, 70), torch.randn(5)
wanted = x + bias[:, None]
biased_leaky_(x, bias, 1.0)
torch.testing.assert_close(x, wanted)
whole = torch.randn(2, 3, 50, 101)
whole[1, 0, :2] = whole[0, 0, :2]
for a, b, rows in ((*whole, (1, 15150, 15150)), (*whole[..., :90], (150, 101, 90)), (*whole[:, :, :7], (3, 5050, 707))):
    wanted = torch.stack([(a - b).abs().sum(), a.abs().sum()])
    torch.testing.assert_close(l1_sums(a, b, *rows), wanted, rtol=1e-4, atol=0)
    got = l1_gradient(a, b, torch.tensor(0.5), *rows)
    torch.testing.assert_close(got, 0.5 * torch.sign(b - a))
    assert got.stride() == b.stride()
for channels, positions, rows in ((3, 50, 1), (96, 70, 1), (130, 1, 1), (8, 0, 1), (3, 50, 0), (96, 70, 0), (8, 0, 0)):
    x = torch.randn(2, positions, channels).transpose(1, 2) if rows else torch.randn(2, channels, positions)
    x.requires_grad_()
    alpha, upstream = torch.rand(channels, requires_grad=True), torch.randn_like(x)  # lies in memory as x does
    column = alpha[:, None]
    wanted = x + (column + 1e-9).reciprocal() * torch.sin(column * x).square()
    gradients = torch.autograd.grad(wanted, [x, alpha], upstream)
    got = snake(x.detach(), alpha.detach(), 1e-9), *snake_gradients(upstream, x.detach(), alpha.detach(), 1e-9)
    torch.testing.assert_close(got, (wanted.detach(), *gradients), rtol=1e-4, atol=1e-4)
    assert got[0].stride() == got[1].stride() == x.stride()
"""


KERNEL_NAMES = ["_biased_leaky", "_leaky_gradients", "_l1_sums", "_l1_gradient", "_snake", "_snake_gradients"]


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_kernels_in_the_interpreter() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", KERNELS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
@pytest.mark.parametrize("name", KERNEL_NAMES)
def test_kernels_compile_for_hopper(name: str) -> None:
    """The interpreter runs what the compiler refuses; the compiler needs no GPU."""
    import triton
    from triton.backends.compiler import GPUTarget

    from neuralcodecs.layers import fused_kernels

    kernel = getattr(fused_kernels, name)
    integers = ("n", "channels", "programs", "rows", "bins", "kept", "length", "step", "along", "across")
    numbers = dict.fromkeys(integers, "i32") | {"slope": "fp32", "tiny": "fp32"}
    sizes = {"BLOCK": 4096, "ROWS": 64, "WIDTH": 64, "SUMS": True}
    arguments = kernel.arg_names
    signature = {a: "constexpr" if a in sizes else numbers.get(a, "*fp32") for a in arguments}
    constants = {(i,): sizes[a] for i, a in enumerate(arguments) if a in sizes}
    source = triton.compiler.ASTSource(fn=kernel, signature=signature, constexprs=constants)
    assert ".entry" in triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]


@pytest.fixture
def torch_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions that are used on a GPU, with kernels of torch instead of Triton."""
    from types import SimpleNamespace

    def biased_leaky_(x: Tensor, bias: Tensor, slope: float, kept: int | None = None) -> None:
        F.leaky_relu_(x.add_(bias.view(1, -1, 1, 1)), slope)
        x[..., kept or x.shape[-1] :] = 0

    def leaky_gradients(gradient: Tensor, y: Tensor, slope: float, kept: int, sums: bool) -> tuple[Tensor, Any]:
        known = torch.arange(y.shape[-1]) < kept
        inside = torch.where(known, gradient * torch.where(y > 0, 1.0, slope), 0.0)
        return inside, inside.sum((0, 2, 3)) if sums else None

    def l1_gradient(a: Tensor, b: Tensor, scale: Tensor, count: int, length: int, kept: int) -> Tensor:
        memory = torch.full((count * length,), torch.nan).as_strided(b.shape, b.stride())
        return memory.copy_(scale * torch.sign(b - a))

    stubs = SimpleNamespace(
        biased_leaky_=biased_leaky_,
        leaky_gradients=leaky_gradients,
        l1_sums=lambda a, b, *_: torch.stack([(a - b).abs().sum(), a.abs().sum()]),
        l1_gradient=l1_gradient,
    )
    monkeypatch.setattr(fused, "kernels", lambda: stubs)
    monkeypatch.setattr(fused, "_one_pass", lambda x: True)


def values(x: Tensor, bias: Tensor, target: Tensor, kept: int) -> Tensor:
    whole = biased_leaky(2 * x, bias, 0.2, kept)
    y, target = cut(whole, kept), target[..., :kept]
    own = biased(whole * 1, bias).square().mean()
    return l1_distance(target, y, relative=True) + l1_distance(target, y, relative=False) + own


@pytest.mark.parametrize("kept", [5, 4, 1])
def test_values_and_gradients_are_those_of_torch(
    torch_kernels: None, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = torch.channels_last
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=last).requires_grad_()
    bias, target = torch.randn(3, requires_grad=True), torch.randn(2, 3, 4, 5).contiguous(memory_format=last)
    ours = values(x, bias, target, kept)
    monkeypatch.setattr(fused, "_one_pass", lambda x: False)
    other = values(x, bias, target, kept)
    plain = F.leaky_relu(2 * x + bias.view(1, -1, 1, 1), 0.2) * (torch.arange(5) < kept)
    distance = (plain - target)[..., :kept].abs().mean()
    own = (plain + bias.view(1, -1, 1, 1)).square().mean()
    plain = distance / target[..., :kept].abs().mean() + distance + own
    for found in (ours, other):
        torch.testing.assert_close(found, plain)
        gradients, wanted = (torch.autograd.grad(v, [x, bias], retain_graph=True) for v in (found, plain))
        torch.testing.assert_close(gradients, wanted)
        with inputs_only():
            (at_input,) = torch.autograd.grad(found, x, retain_graph=True)
            assert torch.autograd.grad(ours, bias, allow_unused=True, retain_graph=True) == (None,)
        torch.testing.assert_close(at_input, wanted[0])


@pytest.mark.parametrize("kept", [5, 4])
def test_a_gradient_of_what_was_cut_lies_in_memory_of_the_whole(torch_kernels: None, kept: int) -> None:
    whole = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    features = cut(whole, kept).unflatten(0, (2, 1))  # as discriminators give them
    seen: list[Tensor] = []
    whole.register_hook(seen.append)
    torch.autograd.grad(l1_distance(torch.zeros_like(whole)[..., :kept].unflatten(0, (2, 1)), features, False), whole)
    assert seen[0].stride() == whole.stride() and seen[0][..., kept:].isnan().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_gives_what_torch_gives(dtype: torch.dtype) -> None:
    shape, last = (3, 32, 17, 65), torch.channels_last
    x, target = (torch.randn(shape, device="cuda", dtype=dtype).contiguous(memory_format=last) for _ in range(2))
    kept = 60
    bias = torch.randn(32, device="cuda", requires_grad=True)
    x.requires_grad_()
    assert fused.kernels() is not None
    with gpu_paths(["fused"]):
        ours = values(x, bias, target, kept)
    plain = values(x.float(), bias, target.float(), kept)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(ours.float(), plain, rtol=tolerance, atol=tolerance)
    for a, b in zip(*(torch.autograd.grad(v, [x, bias]) for v in (ours, plain)), strict=True):
        assert (a.float() - b.float()).norm() <= 3 * tolerance * b.float().norm()
