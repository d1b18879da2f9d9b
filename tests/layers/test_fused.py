"""Chains of pointwise operations in one pass: torch's values and gradients; kernels in Triton's interpreter."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neuralcodecs.layers import fused
from neuralcodecs.layers.fused import biased, biased_leaky, inputs_only, l1_distance
from neuralcodecs.layers.paths import gpu_paths

KERNELS = """
import torch
from neuralcodecs.layers.fused_kernels import biased_leaky_, l1_gradient, l1_sums, snake, snake_gradients
for shape in ((2, 8, 3, 700), (1, 3, 1, 1), (2, 5, 0, 4)):
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    bias, wanted = torch.randn(shape[1]), None
    wanted = torch.nn.functional.leaky_relu(x + bias.view(1, -1, 1, 1), 0.2)
    biased_leaky_(x, bias, 0.2)
    torch.testing.assert_close(x, wanted)
a, b = torch.randn(2, 3, 5001).unbind()
b[0, :100] = a[0, :100]
torch.testing.assert_close(l1_sums(a, b), torch.stack([(a - b).abs().sum(), a.abs().sum()]))
torch.testing.assert_close(l1_gradient(a, b, torch.tensor(0.5)), 0.5 * torch.sign(b - a))
for channels, positions in ((3, 50), (96, 70), (130, 1), (8, 0)):
    x = torch.randn(2, positions, channels).transpose(1, 2).requires_grad_()
    alpha, upstream = torch.rand(channels, requires_grad=True), torch.randn_like(x)
    column = alpha[:, None]
    wanted = x + (column + 1e-9).reciprocal() * torch.sin(column * x).square()
    gradients = torch.autograd.grad(wanted, [x, alpha], upstream)
    got = snake(x.detach(), alpha.detach(), 1e-9), *snake_gradients(upstream, x.detach(), alpha.detach(), 1e-9)
    torch.testing.assert_close(got, (wanted.detach(), *gradients), rtol=1e-4, atol=1e-4)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_kernels_in_the_interpreter() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", KERNELS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
@pytest.mark.parametrize("name", ["_biased_leaky", "_l1_sums", "_l1_gradient", "_snake", "_snake_gradients"])
def test_kernels_compile_for_hopper(name: str) -> None:
    """The interpreter runs what the compiler refuses; the compiler needs no GPU."""
    import triton
    from triton.backends.compiler import GPUTarget

    from neuralcodecs.layers import fused_kernels

    kernel = getattr(fused_kernels, name)
    numbers = {"n": "i32", "channels": "i32", "programs": "i32", "rows": "i32", "slope": "fp32", "tiny": "fp32"}
    sizes = {"BLOCK": 4096, "ROWS": 64, "WIDTH": 64}
    arguments = kernel.arg_names
    signature = {a: "constexpr" if a in sizes else numbers.get(a, "*fp32") for a in arguments}
    constants = {(i,): sizes[a] for i, a in enumerate(arguments) if a in sizes}
    source = triton.compiler.ASTSource(fn=kernel, signature=signature, constexprs=constants)
    assert ".entry" in triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]


@pytest.fixture
def torch_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions that are used on a GPU, with kernels of torch instead of Triton."""
    from types import SimpleNamespace

    def biased_leaky_(x: Tensor, bias: Tensor, slope: float) -> None:
        F.leaky_relu_(x.add_(bias.view(1, -1, 1, 1)), slope)

    stubs = SimpleNamespace(
        biased_leaky_=biased_leaky_,
        l1_sums=lambda a, b: torch.stack([(a - b).abs().sum(), a.abs().sum()]),
        l1_gradient=lambda a, b, scale: scale * torch.sign(b - a),
    )
    monkeypatch.setattr(fused, "kernels", lambda: stubs)
    monkeypatch.setattr(fused, "_one_pass", lambda x: True)


def values(x: Tensor, bias: Tensor, target: Tensor) -> Tensor:
    y = biased(biased_leaky(2 * x, bias, 0.2) * 1, bias)
    return l1_distance(target, y, relative=True) + l1_distance(target, y, relative=False) + y.square().mean()


def test_values_and_gradients_are_those_of_torch(torch_kernels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    last = torch.channels_last
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=last).requires_grad_()
    bias, target = torch.randn(3, requires_grad=True), torch.randn(2, 3, 4, 5).contiguous(memory_format=last)
    ours = values(x, bias, target)
    monkeypatch.setattr(fused, "_one_pass", lambda x: False)
    plain = values(x, bias, target)
    torch.testing.assert_close(ours, plain)
    for a, b in zip(*(torch.autograd.grad(v, [x, bias], retain_graph=True) for v in (ours, plain)), strict=True):
        torch.testing.assert_close(a, b)
    with inputs_only():
        (at_input,) = torch.autograd.grad(ours, x, retain_graph=True)
        assert torch.autograd.grad(ours, bias, allow_unused=True, retain_graph=True) == (None,)
    torch.testing.assert_close(at_input, torch.autograd.grad(plain, x)[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_gives_what_torch_gives(dtype: torch.dtype) -> None:
    shape, last = (3, 32, 17, 65), torch.channels_last
    x, target = (torch.randn(shape, device="cuda", dtype=dtype).contiguous(memory_format=last) for _ in range(2))
    bias = torch.randn(32, device="cuda", requires_grad=True)
    x.requires_grad_()
    assert fused.kernels() is not None
    with gpu_paths(["fused"]):
        ours = values(x, bias, target)
    plain = values(x.float(), bias, target.float())
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(ours.float(), plain, rtol=tolerance, atol=tolerance)
    for a, b in zip(*(torch.autograd.grad(v, [x, bias]) for v in (ours, plain)), strict=True):
        assert (a.float() - b.float()).norm() <= 3 * tolerance * b.float().norm()
