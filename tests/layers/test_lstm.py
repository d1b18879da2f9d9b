"""The LSTM as one operation for compilers: torch's own, and layer by layer in float16 where a GPU is quicker so."""

import pytest
import torch
from torch import Tensor, nn

from neuralcodecs.layers.lstm import ResidualLSTM, layered, persists

OP = torch.ops.neuralcodecs.lstm


def network(dim: int, device: str = "cpu") -> nn.LSTM:
    return nn.LSTM(dim, dim, 2).requires_grad_(False).to(device)


def apart(some: Tensor, others: Tensor) -> float:
    return float((some.float() - others.float()).norm() / others.float().norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_cpu_it_is_torchs_whatever_the_sizes(dtype: torch.dtype) -> None:
    lstm, x = network(128).to(dtype), torch.randn(20, 16, 128, dtype=dtype)
    assert not persists(x, 128)
    with torch.no_grad():
        assert torch.equal(OP(x, list(lstm.parameters()), 2), lstm(x)[0])


def test_layer_by_layer_in_float16_it_is_the_lstm_and_leaves_weights_alone() -> None:
    lstm, x = network(128), torch.randn(20, 16, 128)
    before = [weight.clone() for weight in lstm.parameters()]
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        found = layered(x.to(dtype), list(lstm.parameters()))
        assert found.dtype == dtype and apart(found, lstm(x)[0]) < 5e-3
    half = network(128).half()
    pointers = [weight.data_ptr() for weight in half.parameters()]
    layered(x.half(), list(half.parameters()))
    assert pointers == [weight.data_ptr() for weight in half.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, lstm.parameters(), strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sizes", [(750, 16, 512), (50, 6, 96)])  # such as persist, and others
def test_on_a_gpu_in_half_precision(dtype: torch.dtype, sizes: tuple[int, int, int]) -> None:
    exact, x = network(sizes[2], "cuda"), torch.randn(sizes, device="cuda")
    lstm = network(sizes[2], "cuda").to(dtype)
    lstm.load_state_dict(exact.state_dict())
    pointers = [weight.data_ptr() for weight in lstm.parameters()]
    with torch.no_grad():
        expected = exact(x)[0]
        for _ in range(2):
            found = OP(x.to(dtype), list(lstm.parameters()), 2)
            assert found.dtype == dtype and apart(found, expected) < 1e-2
    assert pointers == [weight.data_ptr() for weight in lstm.parameters()]


def test_the_bottleneck_is_torchs_lstm_and_its_input() -> None:
    layer, x = ResidualLSTM(6, 2), torch.randn(3, 6, 20)
    expected = layer.lstm(x.permute(2, 0, 1))[0].permute(1, 2, 0) + x
    assert torch.equal(layer(x), expected)
    by_ours, by_torch = (torch.autograd.grad(y.sum(), list(layer.parameters())) for y in (layer(x), expected))
    assert all(torch.equal(a, b) for a, b in zip(by_ours, by_torch, strict=True))
