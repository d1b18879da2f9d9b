"""Exact convolutions: integers whatever computes them, and close to the convolution that was trained."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from neuralcodecs.layers.exact import GRID, LARGEST, LIMIT, ExactConv, activation, exact, integers, rounded


def on_the_grid(*shape: int) -> torch.Tensor:
    return torch.randint(-LARGEST, LARGEST + 1, shape) / GRID


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_evaluation_is_what_integers_give(scale: float) -> None:
    layer = ExactConv(7, 5, 3).eval()
    with torch.no_grad():
        layer.conv.weight.mul_(scale)
    x = on_the_grid(2, 7, 6, 9)
    weight, bias, factor = integers(layer.conv.weight, layer.conv.bias, GRID)
    sums = F.conv2d((x * GRID).double(), weight.view_as(layer.conv.weight).double(), padding=1) + bias[..., None]
    assert float(sums.abs().max()) < 2**24 and torch.equal(sums, sums.round())
    with exact():
        assert torch.equal(layer(x).double(), torch.floor(sums * factor[..., None] + 0.5) / GRID)


@pytest.mark.parametrize("columns", [1, 40, 3000])
def test_no_input_can_make_a_sum_inexact(columns: int) -> None:
    weight = torch.randn(16, columns, 1, 1) * torch.logspace(-4, 3, 16).view(-1, 1, 1, 1)
    whole, bias, _ = integers(weight, 10 * torch.randn(16), GRID)
    assert float((LARGEST * whole.abs().sum(1, keepdim=True) + bias.abs()).max()) < 2**24
    assert float(whole.abs().max()) <= 2048
    assert (whole.abs().amax(1) > 0).all()


def test_evaluation_is_close_to_training_and_follows_the_weights() -> None:
    layer, x = ExactConv(32, 16, 3), on_the_grid(1, 32, 12, 12)
    for _ in range(2):
        trained = layer.train()(x)
        error = layer.eval()(x) - trained
        assert float(error.abs().max()) < 0.1 and float(error.std()) < 0.02
        nn.init.normal_(layer.conv.weight, std=0.2)


def test_other_kernels_batches_and_numbers_give_the_same_bits() -> None:
    layer, x = ExactConv(24, 8, 5).eval(), on_the_grid(3, 24, 10, 11)
    with exact():
        expected = layer(x)
        assert torch.equal(torch.cat([layer(item[None]) for item in x]), expected)
        with torch.backends.mkldnn.flags(enabled=False):
            assert torch.equal(layer(x), expected)
        assert torch.equal(layer(x.contiguous(memory_format=torch.channels_last)), expected)
        assert torch.equal(layer(x.double()).float(), expected)


def test_rounding_lets_gradients_pass_unless_they_lead_outside() -> None:
    x = torch.tensor([-1.0, 0.51, 9.0, -1.0, 9.0], requires_grad=True)
    y = rounded(x, 2.0, 0.0, LIMIT)
    (y * torch.tensor([1.0, 1, 1, -1, -1])).sum().backward()
    assert y.tolist() == [0, 0.5, LIMIT, 0, LIMIT]
    assert x.grad is not None and x.grad.tolist() == [0, 1, 1, -1, 0]
    assert activation(torch.tensor(-3.0)) == 0 and activation(torch.tensor(-3.0), -LIMIT) == -3
