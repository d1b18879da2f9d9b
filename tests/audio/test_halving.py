"""Halving convolutions over pairs of bins are the strided ones."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from neuralcodecs.audio.discriminators import DACDiscriminator, MultiScaleSTFTDiscriminator
from neuralcodecs.audio.discriminators.halving import in_pairs, unbiased
from neuralcodecs.layers.fused import l1_distance
from neuralcodecs.layers.paths import PATHS, gpu_paths


@pytest.mark.parametrize("bins", [1, 2, 8, 33, 64])
@pytest.mark.parametrize(("kernel", "dilation"), [((3, 9), 1), ((3, 9), 4), ((1, 5), 2), ((3, 1), 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pairs_of_bins_give_what_strides_give(
    bins: int, kernel: tuple[int, int], dilation: int, layout: torch.memory_format
) -> None:
    padding = (kernel[0] // 2 * dilation, kernel[1] // 2)
    conv = weight_norm(nn.Conv2d(3, 5, kernel, (1, 2), padding, (dilation, 1), bias=False)).double()
    x = torch.randn(2, 3, 7, bins, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    wanted = conv(x)
    assert wanted.shape == (2, 5, 7, (bins + 1) // 2)
    got = in_pairs(x, conv.weight, dilation)
    weights = torch.randn_like(wanted)
    inputs = [x, *conv.parameters()]
    ours, theirs = (torch.autograd.grad((y * weights).sum(), inputs) for y in (got, wanted))
    torch.testing.assert_close([got, *ours], [wanted, *theirs], rtol=1e-12, atol=1e-12)
    assert torch.equal(unbiased(conv, x), wanted)


def test_a_channels_last_input_is_not_copied() -> None:
    x = torch.randn(2, 4, 3, 16).contiguous(memory_format=torch.channels_last)
    seen, convolve = [], torch.nn.functional.conv2d

    def look(pairs: torch.Tensor, *rest: object, **more: object) -> torch.Tensor:
        seen.append(pairs)
        return convolve(pairs, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "conv2d", look)
        in_pairs(x, torch.randn(5, 4, 3, 9), 1)
    assert seen[0].data_ptr() == x.data_ptr() and seen[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("make", [MultiScaleSTFTDiscriminator, DACDiscriminator])
def test_discriminators_are_the_same_on_a_gpu(make: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    judge, signal = make(), 0.1 * torch.randn(2, 1, 6000)
    found = []
    for device in ("cpu", "cuda"):
        judge, leaf = judge.to(device), signal.to(device).requires_grad_()
        with gpu_paths(PATHS):
            verdicts = judge(leaf)
            loss = sum(
                v.logits.square().mean() + sum(l1_distance(f * 0 + 1, f, False) for f in v.features) for v in verdicts
            )
        gradients = torch.autograd.grad(loss, [leaf, *judge.parameters()])
        found.append([t.cpu() for t in (*(v.logits for v in verdicts), *gradients)])
    for a, b in zip(*found, strict=True):
        assert (a - b).norm() <= 1e-3 * a.norm() + 1e-6
