"""Convolutions from or to few channels as products of matrices are the convolutions."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from neuralcodecs.layers.folded import Folded, is_thin
from neuralcodecs.layers.paths import gpu_paths
from neuralcodecs.layers.thin import convolve


@pytest.mark.parametrize(("inside", "outside"), [(1, 5), (2, 5), (5, 1), (5, 2), (1, 1), (2, 1)])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("rows", [False, True])
def test_values_and_gradients_are_those_of_the_convolution(
    inside: int, outside: int, dilation: int, rows: bool
) -> None:
    conv = nn.Conv1d(inside, outside, 7, dilation=dilation).double()
    x = torch.randn(3, 41, inside, dtype=torch.float64).transpose(1, 2).requires_grad_()
    assert is_thin(conv)
    wanted, found = conv(x), convolve(x, conv.weight, conv.bias, dilation, rows)
    weights = torch.randn_like(wanted)
    inputs = [x, *conv.parameters()]
    ours, theirs = (torch.autograd.grad((y * weights).sum(), inputs) for y in (found, wanted))
    # what goes to few channels is summed in fp32
    tolerance = 1e-12 if inside <= outside else 1e-5
    torch.testing.assert_close([found, *ours], [wanted, *theirs], rtol=tolerance, atol=tolerance)
    if inside < outside:
        assert (found.stride(1) == 1) == rows


def test_others_are_not_thin() -> None:
    assert not is_thin(nn.Conv1d(1, 8, 7, stride=2)) and not is_thin(nn.Conv1d(1, 8, 1))
    assert not is_thin(nn.Conv1d(3, 8, 7)) and not is_thin(nn.Conv1d(2, 2, 7, groups=2))
    assert not is_thin(nn.Conv2d(1, 8, 7)) and is_thin(nn.Conv1d(8, 1, 7))


def test_under_autocast_a_waveform_is_not_rounded() -> None:
    conv, x = nn.Conv1d(64, 1, 7), torch.randn(2, 64, 500)
    wanted = F.conv1d(x.bfloat16().float(), conv.weight, conv.bias)
    with torch.autocast("cpu", torch.bfloat16):
        found = convolve(x.bfloat16(), conv.weight, conv.bias, 1, False)
        rounded = conv(x)
    assert found.dtype == torch.float32
    assert (found - wanted).norm() < 1e-5 * wanted.norm() < 1e-2 * (rounded - wanted).norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("paths", [(), ("rows",)])
@pytest.mark.parametrize(("inside", "outside"), [(1, 64), (64, 1), (2, 32)])
def test_on_a_gpu(inside: int, outside: int, paths: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    conv, x = nn.Conv1d(inside, outside, 7).cuda(), torch.randn(3, inside, 500, device="cuda")
    wanted = F.conv1d(x, conv.weight, conv.bias, padding=3)
    with gpu_paths(paths):
        torch.testing.assert_close(Folded()(conv, x, (3,)), wanted, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            torch.testing.assert_close(Folded()(conv.eval(), x, (3,)), wanted, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            half = Folded()(conv.bfloat16(), x.bfloat16(), (3,)).float()
    exact = F.conv1d(x.bfloat16().float(), conv.weight.float(), conv.bias.float(), padding=3)
    assert (half - exact).norm() < 4e-3 * exact.norm()
