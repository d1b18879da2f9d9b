"""Halving convolutions over pairs of bins are the strided ones."""

import pytest
import torch
from torch.nn.utils.parametrizations import weight_norm

from neuralcodecs.audio.discriminators.halving import HalvingConv2d, in_pairs


@pytest.mark.parametrize("bins", [1, 2, 8, 33, 64])
@pytest.mark.parametrize(("kernel", "dilation"), [((3, 9), 1), ((3, 9), 4), ((1, 5), 2), ((3, 1), 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pairs_of_bins_give_what_strides_give(
    bins: int, kernel: tuple[int, int], dilation: int, layout: torch.memory_format
) -> None:
    conv = weight_norm(HalvingConv2d(3, 5, kernel, dilation)).double()
    x = torch.randn(2, 3, 7, bins, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    wanted = conv(x)
    assert wanted.shape == (2, 5, 7, (bins + 1) // 2)
    got = in_pairs(x, conv.weight, conv.bias, dilation)
    weights = torch.randn_like(wanted)
    inputs = [x, *conv.parameters()]
    ours, theirs = (torch.autograd.grad((y * weights).sum(), inputs) for y in (got, wanted))
    torch.testing.assert_close([got, *ours], [wanted, *theirs], rtol=1e-12, atol=1e-12)


def test_a_channels_last_input_is_not_copied() -> None:
    x = torch.randn(2, 4, 3, 16).contiguous(memory_format=torch.channels_last)
    seen, convolve = [], torch.nn.functional.conv2d

    def look(pairs: torch.Tensor, *rest: object, **more: object) -> torch.Tensor:
        seen.append(pairs)
        return convolve(pairs, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "conv2d", look)
        in_pairs(x, torch.randn(5, 4, 3, 9), None, 1)
    assert seen[0].data_ptr() == x.data_ptr() and seen[0].is_contiguous(memory_format=torch.channels_last)
