"""Padding-owning convolutions: lengths, causality, equality with the published rules, folding."""

import math
from itertools import product

import pytest
import torch
from encodec.modules import SConv1d, SConvTranspose1d
from torch import Tensor, nn
from torch.nn.utils import parametrize

from neuralcodecs import CodecError
from neuralcodecs.layers import Conv, ResidualLSTM, ResidualUnit, TransposedConv, pad

MODES = ("constant", "reflect", "replicate")
# kernel, stride, dilation: those of SEANet, a dilated one, kernel equal to stride, strides that divide nothing
SHAPES = ((7, 1, 1), (4, 2, 1), (10, 5, 1), (16, 8, 1), (3, 1, 9), (1, 1, 1), (3, 3, 1), (5, 3, 1))


def first_change(before: Tensor, after: Tensor) -> int:
    """Index of the first position of the last axis that differs (its length if none does)."""
    changed = (before != after).flatten(0, -2).any(0).nonzero()
    return int(changed[0]) if len(changed) else before.shape[-1]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_output_is_length_over_stride_rounded_up(mode: str, causal: bool) -> None:
    for kernel, stride, dilation in SHAPES:
        conv = Conv(nn.Conv1d(1, 1, kernel, stride, dilation=dilation), causal, mode)
        for length in (*range(1, 40), 101, 1024):
            assert conv(torch.randn(1, 1, length)).shape[-1] == math.ceil(length / stride)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_conv_equals_published(mode: str, causal: bool) -> None:
    """Also where the signal is shorter than its reflection."""
    for kernel, stride, dilation in SHAPES:
        published = SConv1d(3, 4, kernel, stride, dilation, causal=causal, pad_mode=mode)
        conv = Conv(published.conv.conv, causal, mode)
        for length in (*range(1, 36), 333):
            signal = torch.randn(2, 3, length)
            assert torch.equal(conv(signal), published(signal)), (kernel, stride, dilation, length)


@pytest.mark.parametrize(("causal", "ratio"), [(True, 1.0), (True, 0.5), (True, 0.0), (False, 1.0)])
def test_transposed_conv_equals_published(causal: bool, ratio: float) -> None:
    for (kernel, stride), length in product(((4, 2), (10, 5), (16, 8), (7, 3), (2, 2)), (1, 2, 9)):
        published = SConvTranspose1d(3, 4, kernel, stride, causal=causal, trim_right_ratio=ratio)
        conv = TransposedConv(published.convtr.convtr, causal, trim_right_ratio=ratio)
        signal = torch.randn(2, 3, length)
        assert conv(signal).shape[-1] == length * stride
        assert torch.equal(conv(signal), published(signal)), (kernel, stride, length)


def test_time_group_norm_equals_published() -> None:
    """After the convolution, and in transposed ones before the ends are cut."""
    signal = torch.randn(2, 3, 50) + 1
    down = SConv1d(3, 4, 8, 4, norm="time_group_norm")
    up = SConvTranspose1d(4, 3, 8, 4, norm="time_group_norm")
    ours_down = Conv(down.conv.conv, norm="time_group_norm", pad_mode="reflect")
    ours_up = TransposedConv(up.convtr.convtr, norm="time_group_norm")
    assert torch.equal(ours_down(signal), down(signal))
    assert torch.equal(ours_up(down(signal)), up(down(signal)))
    assert ours_down(signal).mean(dim=(1, 2)).abs().max() < 1e-6


@pytest.mark.parametrize("mode", ["constant", "replicate"])
def test_causal_conv_ignores_the_future(mode: str) -> None:
    for kernel, stride, dilation in SHAPES:
        conv = Conv(nn.Conv1d(1, 2, kernel, stride, dilation=dilation), True, mode)
        signal = torch.randn(1, 1, 20 * stride)
        for frame in (0, 1, 7):
            later = signal.clone()
            later[..., (frame + 1) * stride :] += 1
            assert first_change(conv(signal), conv(later)) == frame + 1, (kernel, stride, dilation, frame)


def test_causal_reflection_shows_the_first_windows_later_samples() -> None:
    """The known flaw of EnCodec 24 kHz: not a property to wish for, but part of being exact."""
    conv = Conv(nn.Conv1d(1, 2, 7), True, "reflect")
    signal = torch.randn(1, 1, 30)
    later = signal.clone()
    later[..., 6:] += 1
    assert first_change(conv(signal), conv(later)) == 0
    later = signal.clone()
    later[..., 7:] += 1
    assert first_change(conv(signal), conv(later)) == 7


def test_causal_transposed_conv_ignores_the_future() -> None:
    for kernel, stride in ((4, 2), (10, 5), (16, 8)):
        signal = torch.randn(1, 3, 9)
        later = signal.clone()
        later[..., 4:] += 1
        causal = TransposedConv(nn.ConvTranspose1d(3, 2, kernel, stride), causal=True)
        centred = TransposedConv(causal.conv)
        assert first_change(causal(signal), causal(later)) == 4 * stride
        assert first_change(centred(signal), centred(later)) < 4 * stride


def test_left_context_is_explicit() -> None:
    """What streaming has to keep: with ``padding_total`` samples of the past in place of padding, nothing changes."""
    conv = Conv(nn.Conv1d(2, 3, 10, 5), causal=True)
    signal = torch.randn(1, 2, 60)
    assert (conv.kernel_eff, conv.stride, conv.padding_total) == ((10,), (5,), (5,))
    (context,) = conv.padding_total
    tail = conv.conv(signal[..., 30 - context :])
    torch.testing.assert_close(tail, conv(signal)[..., 6:])


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_two_and_three_axes(mode: str) -> None:
    image = Conv(nn.Conv2d(1, 2, (3, 9), (1, 2)), pad_mode=mode)
    video = Conv(nn.Conv3d(1, 2, 3, 2), causal=True, pad_mode=mode)
    for height, width in ((1, 1), (2, 3), (17, 30)):
        assert image(torch.randn(2, 1, height, width)).shape == (2, 2, height, math.ceil(width / 2))
    assert video(torch.randn(1, 1, 5, 7, 8)).shape == (1, 2, 3, 4, 4)
    assert TransposedConv(nn.ConvTranspose2d(1, 2, 4, 2))(torch.randn(1, 1, 3, 5)).shape == (1, 2, 6, 10)


def test_causal_means_the_first_axis() -> None:
    conv = Conv(nn.Conv3d(1, 1, 3), causal=True)
    clip = torch.randn(1, 1, 6, 5, 5)
    later = clip.clone()
    later[:, :, 3:] += 1
    changed = (conv(clip) != conv(later)).flatten(3).any(-1).squeeze()
    assert changed.tolist() == [False] * 3 + [True] * 3
    right = clip.clone()
    right[..., 3:] += 1
    assert first_change(conv(clip), conv(right)) == 2


def test_columns_of_two_axes_equal_one_axis() -> None:
    line = Conv(nn.Conv1d(3, 4, 5, 2), pad_mode="reflect")
    plane = Conv(nn.Conv2d(3, 4, (5, 1), (2, 1)), pad_mode="reflect")
    plane.conv.load_state_dict({"weight": line.conv.weight[..., None], "bias": line.conv.bias})
    image = torch.randn(2, 3, 11, 6)
    torch.testing.assert_close(plane(image)[..., 4], line(image[..., 4]))


def test_weight_norm_folds_and_learns() -> None:
    conv = Conv(nn.Conv1d(3, 4, 5), norm="weight_norm")
    signal = torch.randn(1, 3, 20)
    before = conv(signal)
    before.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in conv.parameters())
    parametrize.remove_parametrizations(conv.conv, "weight")
    assert sorted(conv.state_dict()) == ["conv.bias", "conv.weight"]
    torch.testing.assert_close(conv(signal), before)


def test_nothing_to_pad_costs_nothing() -> None:
    signal = torch.randn(1, 3, 20)
    assert pad(signal, [(0, 0)], "reflect") is signal


@pytest.mark.parametrize("true_skip", [True, False])
def test_residual_unit_adds_to_its_input(true_skip: bool) -> None:
    unit = ResidualUnit(4, Conv, dilation=3, true_skip=true_skip)
    signal = torch.randn(2, 4, 33)
    for parameter in unit.block.parameters():
        nn.init.zeros_(parameter)
    if not true_skip:  # fresh ones pass their input
        nn.init.normal_(unit.shortcut.conv.weight)
    assert torch.equal(unit(signal), unit.shortcut(signal))
    assert torch.equal(unit(signal), signal) == true_skip


def test_lstm_is_causal_and_residual() -> None:
    lstm = ResidualLSTM(4, 2)
    latents = torch.randn(2, 4, 12)
    later = latents.clone()
    later[..., 5:] += 1
    assert first_change(lstm(latents), lstm(later)) == 5
    for parameter in lstm.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(lstm(latents), latents)


def test_errors_name_the_value() -> None:
    with pytest.raises(CodecError, match=r"kernel \(3,\) is smaller than stride \(4,\)"):
        Conv(nn.Conv1d(1, 1, 3, 4))
    with pytest.raises(CodecError, match="time_group_norm"):
        Conv(nn.Conv1d(1, 1, 3), causal=True, norm="time_group_norm")
    with pytest.raises(CodecError, match=r"trim_right_ratio 0\.5"):
        TransposedConv(nn.ConvTranspose1d(1, 1, 4, 2), trim_right_ratio=0.5)
