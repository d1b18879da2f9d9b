"""Discriminators: equal to the published ones, one verdict per scale, any channels, fp32 spectra under autocast."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from neuralcodecs.audio.discriminators.dac import (
    DACDiscriminator,
    MultiBandSTFTDiscriminator,
    MultiPeriodDiscriminator,
)
from neuralcodecs.audio.discriminators.ms_stft import MultiScaleSTFTDiscriminator, parts
from neuralcodecs.audio.spectral import STFT
from neuralcodecs.criteria import Discriminator, Verdict
from neuralcodecs.errors import CodecError

WINDOWS = (2048, 1024, 512, 256, 128)
SMALL = [
    MultiScaleSTFTDiscriminator((256, 128), filters=4),
    MultiPeriodDiscriminator((2, 3), (4, 8)),
    MultiBandSTFTDiscriminator((256, 128), filters=4),
]
each_discriminator = pytest.mark.parametrize("judge", SMALL, ids=lambda judge: type(judge).__name__)


def copy_parameters(source: nn.Module, target: nn.Module) -> None:
    """Both list bias, magnitude and direction of each convolution in this order."""
    pairs = zip(source.parameters(), target.parameters(), strict=True)
    for theirs, ours in pairs:
        assert theirs.shape == ours.shape
        ours.data.copy_(theirs.data)


def largest_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """``ours`` has the axis of the channels judged apart, which the published outputs lack."""
    assert len(ours) == len(theirs)
    return max((x[:, 0] - y).abs().max().item() for x, y in zip(ours, theirs, strict=True))


def flat(verdicts: list[Verdict]) -> list[Tensor]:
    return [x for verdict in verdicts for x in (*verdict.features, verdict.logits)]


@pytest.mark.parametrize("channels", [1, 2])
def test_ms_stft_equals_encodec(channels: int) -> None:
    published = pytest.importorskip("encodec.msstftd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = published.MultiScaleSTFTDiscriminator(
            32, channels, n_ffts=list(WINDOWS), hop_lengths=[w // 4 for w in WINDOWS], win_lengths=list(WINDOWS)
        )
    ours = MultiScaleSTFTDiscriminator(WINDOWS, channels)
    copy_parameters(theirs, ours)
    signal = torch.randn(2, channels, 3000)
    with torch.no_grad():
        logits, features = theirs(signal)
        verdicts = ours(signal)
    assert len(verdicts) == len(logits) == 5
    for verdict, logit, feature in zip(verdicts, logits, features, strict=True):
        assert len(verdict.features) == 5
        assert largest_difference([verdict.logits, *verdict.features], [logit, *feature]) <= 1e-5


@pytest.mark.parametrize(
    ("periods", "windows", "length"),
    [
        ((3,), (512,), 3000),
        ((3,), (512,), 3001),
        pytest.param((2, 3, 5, 7, 11), (2048, 1024, 512), 9000, marks=pytest.mark.slow),
    ],
)
def test_dac_equals_the_published_one(periods: tuple[int, ...], windows: tuple[int, ...], length: int) -> None:
    published = pytest.importorskip("dac.model.discriminator", reason="descript-audio-codec is not installed")
    theirs = published.Discriminator(periods=list(periods), fft_sizes=list(windows))
    ours = DACDiscriminator(periods, windows)
    copy_parameters(theirs, ours)
    signal = 0.3 * torch.randn(2, 1, length) + 0.05
    with torch.no_grad():
        expected = theirs(signal)
        verdicts = ours(signal)
    assert [len(v.features) for v in verdicts] == [5] * len(periods) + [25] * len(windows)
    for verdict, layers in zip(verdicts, expected, strict=True):
        assert largest_difference([*verdict.features, verdict.logits], layers) <= 1e-5


def test_dac_frames_and_padding_for_lengths_that_divide_and_that_do_not() -> None:
    for length in (3000, 3001):
        signal = torch.randn(1, 1, length)
        frames = [verdict.logits.shape[3] for verdict in MultiBandSTFTDiscriminator((512, 256), filters=2)(signal)]
        assert frames == [-(-length // 128), -(-length // 64)]
        # even a length that the period divides gets one more row
        unfolded = MultiPeriodDiscriminator((3,), (2,))(signal)[0].features[0]
        assert unfolded.shape[3:] == (length // 3 + 1, 3)


def test_parameter_counts_of_the_published_sizes() -> None:
    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    assert count(MultiScaleSTFTDiscriminator()) == 472_330
    assert count(DACDiscriminator().periods) == 41_105_770
    assert count(MultiBandSTFTDiscriminator()) == 1_413_990


@each_discriminator
@pytest.mark.parametrize("length", [1, 50, 1000])
def test_axis_0_is_the_batch_for_mono_and_stereo_of_any_length(judge: Discriminator, length: int) -> None:
    stereo = torch.randn(3, 2, length)
    verdicts = judge(stereo)
    assert len(verdicts) == 2
    for i in range(3):
        for whole, alone in zip(flat(verdicts), flat(judge(stereo[i : i + 1])), strict=True):
            assert len(whole) == 3
            torch.testing.assert_close(whole[i], alone[0], rtol=1e-4, atol=1e-5)
    for whole, right in zip(flat(verdicts), flat(judge(stereo[:, 1:])), strict=True):
        torch.testing.assert_close(whole[:, 1:], right, rtol=1e-4, atol=1e-5)


@each_discriminator
def test_every_parameter_and_every_item_gets_a_gradient(judge: Discriminator) -> None:
    signal = torch.randn(2, 1, 2000, requires_grad=True)
    cost = torch.stack([x.square().mean() for x in flat(judge(signal))]).sum()
    gradients = torch.autograd.grad(cost, [signal, *judge.parameters()])
    assert all(g.isfinite().all() and g.any() for g in gradients)
    assert gradients[0].any(dim=-1).all()


@each_discriminator
def test_silence_is_judged_with_finite_gradients(judge: Discriminator) -> None:
    signal = torch.zeros(1, 1, 2000, requires_grad=True)
    cost = torch.stack([x.square().mean() for x in flat(judge(signal))]).sum()
    (gradient,) = torch.autograd.grad(cost, signal)
    assert cost.isfinite()
    assert gradient.isfinite().all()


def test_stereo_judged_jointly_sees_both_channels_and_refuses_other_counts() -> None:
    joint = MultiScaleSTFTDiscriminator((256,), channels=2, filters=4)
    stereo = torch.randn(1, 2, 1000)
    assert not torch.allclose(joint(stereo)[0].logits, joint(stereo * torch.tensor([1.0, 0.0])[:, None])[0].logits)
    assert joint(torch.randn(1, 4, 1000))[0].logits.shape[:2] == (1, 2)
    with pytest.raises(CodecError, match="3 audio channels cannot be judged 2 at a time"):
        joint(torch.randn(1, 3, 1000))


def test_spectra_stay_in_fp32_under_autocast_and_convolutions_do_not() -> None:
    judge = SMALL[0]
    signal = torch.randn(1, 1, 1000)
    with torch.autocast("cpu", torch.bfloat16):
        spectrum = STFT(256, 64)(signal.bfloat16())
        verdict = judge(signal)[0]
    assert torch.equal(spectrum, STFT(256, 64)(signal.bfloat16().float()))
    assert spectrum.dtype == torch.complex64
    assert verdict.features[0].dtype == verdict.logits.dtype == torch.bfloat16
    torch.testing.assert_close(verdict.logits.float(), judge(signal)[0].logits, rtol=0.1, atol=0.02)


def test_weights_decide_the_memory_format() -> None:
    judge = MultiScaleSTFTDiscriminator((256,), filters=4).to(memory_format=torch.contiguous_format)
    signal = torch.randn(2, 1, 1000)
    plain = judge(signal)[0]
    assert plain.features[1][:, 0].is_contiguous()
    fresh = MultiScaleSTFTDiscriminator((256,), filters=4)
    fresh.load_state_dict(judge.state_dict())
    last = fresh(signal)[0]
    assert last.features[1][:, 0].is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(plain.logits, last.logits)


def test_parts_are_all_real_then_all_imaginary() -> None:
    spectrum = torch.randn(1, 2, 3, 4, dtype=torch.complex64)
    assert torch.equal(parts(spectrum), torch.cat([spectrum.real, spectrum.imag], dim=1))


def test_dac_gain_of_quiet_signals_is_bounded() -> None:
    judge = DACDiscriminator((2,), (256,))
    loud = torch.randn(1, 1, 1000)

    def slope(signal: Tensor) -> float:
        signal = signal.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(judge(signal)[0].logits.sum(), signal)
        return gradient.norm().item()

    with torch.no_grad():
        for x, y in zip(flat(judge(loud)), flat(judge(0.01 * loud + 0.3)), strict=True):
            torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-4)
    # the published code's slope grows in proportion to 1 / peak
    assert slope(1e-7 * loud) == pytest.approx(slope(1e-5 * loud), rel=0.05)
