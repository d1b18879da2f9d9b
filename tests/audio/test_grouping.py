"""Convolutions over groups of bins are those over bins; discriminators made of them are the same."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from neuralcodecs.audio.discriminators import DACDiscriminator, MultiScaleSTFTDiscriminator
from neuralcodecs.audio.discriminators.grouping import group, in_groups, multiple, unbiased
from neuralcodecs.audio.discriminators.ms_stft import ConvStack
from neuralcodecs.criteria import Verdict
from neuralcodecs.layers.fused import l1_distance
from neuralcodecs.layers.paths import PATHS, gpu_paths


@pytest.mark.parametrize(
    ("size", "stride", "bins"), [(4, 1, 8), (2, 1, 6), (2, 2, 34), (4, 2, 16), (8, 2, 32), (1, 1, 5)]
)
@pytest.mark.parametrize(("kernel", "dilation"), [((3, 9), 1), ((3, 9), 4), ((1, 5), 2), ((3, 3), 1), ((3, 1), 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_groups_of_bins_give_what_bins_give(
    size: int, stride: int, bins: int, kernel: tuple[int, int], dilation: int, layout: torch.memory_format
) -> None:
    padding = (kernel[0] // 2 * dilation, kernel[1] // 2)
    conv = weight_norm(nn.Conv2d(3, 5, kernel, (1, stride), padding, (dilation, 1), bias=False)).double()
    x = torch.randn(2, 3, 7, bins, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    wanted = conv(x)
    assert wanted.shape == (2, 5, 7, bins // stride)
    got = in_groups(x, conv.weight, dilation, size, stride)
    weights = torch.randn_like(wanted)
    inputs = [x, *conv.parameters()]
    ours, theirs = (torch.autograd.grad((y * weights).sum(), inputs) for y in (got, wanted))
    torch.testing.assert_close([got, *ours], [wanted, *theirs], rtol=1e-12, atol=1e-12)
    if bins % group(conv) == 0:
        torch.testing.assert_close(unbiased(conv, x), wanted, rtol=1e-12, atol=1e-12)


def test_neither_a_channels_last_input_nor_the_output_is_copied() -> None:
    x = torch.randn(2, 2, 3, 16).contiguous(memory_format=torch.channels_last)
    seen, convolve = [], torch.nn.functional.conv2d

    def look(groups: Tensor, *rest: Any, **more: Any) -> Tensor:
        seen.extend([groups, convolve(groups, *rest, **more).contiguous(memory_format=torch.channels_last)])
        return seen[1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "conv2d", look)
        y = in_groups(x, torch.randn(5, 2, 3, 9), 1, 4, 1)
    groups, made = seen
    assert groups.data_ptr() == x.data_ptr() and groups.is_contiguous(memory_format=torch.channels_last)
    assert y.data_ptr() == made.data_ptr() and y.is_contiguous(memory_format=torch.channels_last)


def test_bins_fill_the_groups_of_every_convolution() -> None:
    stack = MultiScaleSTFTDiscriminator().scales[0].stack
    assert [group(conv) for conv in stack.convs] == [4, 2, 2, 2, 1] and multiple(stack.convs) == 8
    periods = DACDiscriminator().periods.scales[0].stack
    assert multiple(periods.convs) == 1


@pytest.mark.parametrize("make", [MultiScaleSTFTDiscriminator, DACDiscriminator])
def test_discriminators_in_groups_are_the_same(make: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    judge, leaf = make(), (0.1 * torch.randn(2, 1, 6000)).requires_grad_()
    found = []
    for way in (ConvStack.forward, ConvStack.grouped):
        monkeypatch.setattr(ConvStack, "forward", way)
        found.append(all_of(judge, leaf))
    for a, b in zip(*found, strict=True):
        assert a.shape == b.shape
        assert (a - b).norm() <= 2e-3 * a.norm() + 1e-6  # a value near the kink of a ReLU goes either way


def all_of(judge: nn.Module, leaf: Tensor) -> list[Tensor]:
    """Logits, features and all gradients of a loss of both."""
    verdicts: list[Verdict] = judge(leaf)
    features = [feature for verdict in verdicts for feature in verdict.features]
    loss = sum(v.logits.square().mean() for v in verdicts) + sum(l1_distance(f * 0 + 1, f, False) for f in features)
    gradients = torch.autograd.grad(loss, [leaf, *judge.parameters()])
    return [*(v.logits.detach() for v in verdicts), *(f.detach() for f in features), *gradients]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("make", [MultiScaleSTFTDiscriminator, DACDiscriminator])
@pytest.mark.parametrize("paths", [(), PATHS])
def test_discriminators_are_the_same_on_a_gpu(
    make: type[nn.Module], paths: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    judge, signal = make(), 0.1 * torch.randn(2, 1, 6000)
    found = []
    for device in ("cpu", "cuda"):
        judge, leaf = judge.to(device), signal.to(device).requires_grad_()
        with gpu_paths(paths):
            found.append([t.cpu() for t in all_of(judge, leaf)])
    for a, b in zip(*found, strict=True):
        assert (a - b).norm() <= 2e-3 * a.norm() + 1e-6
