"""Weights kept between calls are never stale, and give what the convolution gives."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from neuralcodecs.layers import Conv, TransposedConv
from neuralcodecs.layers.folded import Folded


def layers() -> dict[str, nn.Module]:
    return {
        "1d": Conv(nn.Conv1d(4, 6, 5, 2, groups=2), norm="weight_norm", pad_mode="reflect"),
        "2d": Conv(nn.Conv2d(4, 6, (3, 5), dilation=(2, 1)), norm="weight_norm"),
        "transposed": TransposedConv(nn.ConvTranspose1d(4, 6, 4, 2), norm="weight_norm"),
        "transposed 3d": TransposedConv(nn.ConvTranspose3d(4, 6, 4, 2, bias=False), norm="weight_norm"),
        "no norm": Conv(nn.Conv1d(4, 6, 3)),
    }


@pytest.mark.parametrize("name", [*layers()])
def test_results_are_equal_to_the_bit_and_weights_are_computed_once(name: str) -> None:
    layer = layers()[name]
    x = torch.randn(2, 4, *(9,) * (len(layer.conv.kernel_size)))
    with torch.no_grad():
        wanted = layer.train()(x)
        layer.eval()
        assert torch.equal(layer(x), wanted)
        kept = layer.folded._weight
        assert torch.equal(layer(x), wanted) and layer.folded._weight is kept
    assert not [key for key in layer.state_dict() if "folded" in key]


@torch.no_grad()
def test_whatever_changes_the_weights_is_seen() -> None:
    layer, other = layers()["1d"].eval(), layers()["1d"].eval()
    x = torch.randn(2, 4, 9)

    def fresh(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return copy.deepcopy(layer).train()(x)

    seen = [layer(x)]
    for change in (
        lambda: layer.conv.parametrizations.weight.original0.mul_(2),
        lambda: layer.load_state_dict(other.state_dict()),
        lambda: torch.optim.SGD(layer.parameters(), lr=0.1).step(),
        lambda: setattr(layer.conv.parametrizations.weight, "original1", nn.Parameter(torch.randn(6, 2, 5))),
        lambda: layer.conv.bias.add_(1),
    ):
        for parameter in layer.parameters():
            parameter.grad = torch.ones_like(parameter)
        change()
        seen.append(layer(x))
        assert torch.equal(seen[-1], fresh(layer, x)) and not torch.equal(seen[-1], seen[-2])
    assert torch.equal(layer.double()(x.double()), fresh(layer, x.double()))


def test_gradients_reach_weights_in_evaluation_too() -> None:
    layer = layers()["1d"].eval()
    with torch.no_grad():
        layer(torch.randn(2, 4, 9))
    layer(torch.randn(2, 4, 9)).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


@pytest.mark.parametrize("learning", [False, True])
def test_zeros_around_an_input_are_those_of_a_padded_one(learning: bool) -> None:
    conv, x = weight_norm(nn.Conv1d(3, 4, 5, 2, dilation=2)).train(learning), torch.randn(2, 3, 41)
    with torch.set_grad_enabled(learning):
        padded = Folded()(conv, torch.nn.functional.pad(x, (4, 4)))
        torch.testing.assert_close(Folded()(conv, x, (4,)), padded)
