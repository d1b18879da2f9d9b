"""Snake against its formula, and DAC's convolutions against the published padding."""

import pytest
import torch
from torch import nn

from neuralcodecs.layers.snake import Snake, SnakeUnit, Upsample, same


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_snake_follows_its_formula_and_derivative(axes: int) -> None:
    layer = Snake(4).double()
    alpha = torch.tensor([0.3, 1.0, 2.5, -1.0], dtype=torch.float64)
    layer.alpha.data.copy_(alpha)
    x = torch.randn(2, 4, *(7, 3, 2)[:axes], dtype=torch.float64, requires_grad=True)
    a = alpha.view(4, *(1,) * axes)
    output = layer(x)
    torch.testing.assert_close(output, x + torch.sin(a * x) ** 2 / a, atol=1e-7, rtol=0)
    (gradient,) = torch.autograd.grad(output.sum(), x)
    torch.testing.assert_close(gradient, 1 + torch.sin(2 * a * x), atol=1e-7, rtol=0)


@torch.no_grad()
def test_snake_of_frequency_zero_is_the_identity() -> None:
    layer, x = Snake(2), torch.randn(1, 2, 50)
    layer.alpha.zero_()
    assert torch.equal(layer(x), x)


def test_what_a_compiler_is_given_is_snake(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Snake(3)
    layer.alpha.data.copy_(torch.tensor([0.01, 1.0, 3.0]))
    x = (10 * torch.randn(2, 3, 10000)).requires_grad_()
    found = []
    for compiling in (True, False):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda compiling=compiling: compiling)
        y = layer.double()(x.double()) if not compiling else layer(x)
        found.append([y, *torch.autograd.grad(y.sum(), [x])])
    torch.testing.assert_close(found[0], [t.float() for t in found[1]], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, 8])
@torch.no_grad()
def test_upsampling_is_the_published_layer(stride: int) -> None:
    published = nn.ConvTranspose1d(3, 2, 2 * stride, stride, padding=-(-stride // 2))
    layer = Upsample(3, 2, stride)
    layer.conv.conv.weight = published.weight.detach()  # through weight norm
    layer.conv.conv.bias.copy_(published.bias)
    x = torch.randn(2, 3, 11)
    assert layer(x).shape[-1] == 11 * stride - stride % 2
    torch.testing.assert_close(layer(x), published(x))


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "padding"), [(7, 1, 9, 27), (3, 1, 1, 1), (8, 4, 1, 2), (10, 5, 1, 3)]
)
@torch.no_grad()
def test_convolutions_pad_as_published(kernel: int, stride: int, dilation: int, padding: int) -> None:
    published = nn.Conv1d(3, 4, kernel, stride, padding, dilation)
    layer = same(nn.Conv1d(3, 4, kernel, stride, dilation=dilation))
    layer.conv.weight = published.weight.detach()
    layer.conv.bias.copy_(published.bias)
    x = torch.randn(2, 3, 40)
    torch.testing.assert_close(layer(x), published(x))


def test_every_parameter_learns() -> None:
    unit = SnakeUnit(4, 3)
    unit(torch.randn(2, 4, 30)).square().mean().backward()
    for name, parameter in unit.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
