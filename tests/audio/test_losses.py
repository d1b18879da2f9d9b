"""Reconstruction losses: zero on equal signals, finite on silence, fp32, any length, equal to the published ones."""

import warnings

import pytest
import soundfile as sf
import torch
import torch.nn.functional as F
import torchaudio
from conftest import SAMPLES
from torch import Tensor

from neuralcodecs.audio.losses import EncodecMel, LogMel, MultiScaleMel, MultiScaleSTFT, NoiseToSignal, WaveformL1
from neuralcodecs.audio.spectral import STFT, MelScale, pad_reflect
from neuralcodecs.criteria import Loss
from neuralcodecs.errors import CodecError

RATE = 24_000
LOSSES = [
    WaveformL1(),
    NoiseToSignal(),
    EncodecMel(RATE),
    EncodecMel(RATE, log_l2=True),
    MultiScaleMel(RATE),
    MultiScaleSTFT(),
    LogMel(rate=24000),
]
WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)


@pytest.fixture(scope="module")
def speech() -> Tensor:
    path = min((SAMPLES / "speech" / "train").glob("kathleen_*"))
    samples, rate = sf.read(path, dtype="float32", frames=RATE)
    assert rate == RATE
    return torch.from_numpy(samples)[None, None, RATE // 2 :]


@each_loss
def test_equal_signals_cost_nothing_and_noise_costs_more_the_louder(loss: Loss, speech: Tensor) -> None:
    noise = torch.randn_like(speech)
    costs = [loss(speech + level * noise, speech).item() for level in (0.0, 0.001, 0.1)]
    assert costs[0] == 0
    assert costs == sorted(costs)
    assert costs[1] > 0


@each_loss
@pytest.mark.parametrize("silent", ["output", "target", "both"])
def test_silence_gives_finite_loss_and_gradient(loss: Loss, silent: str, speech: Tensor) -> None:
    output = (speech * (silent == "target")).clone().requires_grad_()
    cost = loss(output, speech * (silent == "output"))
    (gradient,) = torch.autograd.grad(cost, output)
    assert cost.isfinite()
    assert gradient.isfinite().all()
    assert (cost > 0) == (silent != "both")


@each_loss
def test_autocast_and_half_precision_signals_are_judged_in_fp32(loss: Loss, speech: Tensor) -> None:
    output = speech + 0.01 * torch.randn_like(speech)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(output, speech)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, loss(output, speech))
    assert loss(output.bfloat16(), speech.bfloat16()).dtype == torch.float32


@each_loss
def test_channels_are_judged_as_signals_of_their_own(loss: Loss, speech: Tensor) -> None:
    target = torch.cat([speech, speech.flip(-1)], dim=1)
    output = target + 0.01 * torch.randn_like(target)
    apart = torch.stack([loss(output[:, i : i + 1], target[:, i : i + 1]) for i in range(2)]).mean()
    torch.testing.assert_close(loss(output, target), apart)


@each_loss
@pytest.mark.parametrize("length", [1, 100, 1025])
def test_signals_shorter_than_the_largest_window(loss: Loss, length: int) -> None:
    target = torch.randn(2, 1, length)
    output = torch.randn(2, 1, length, requires_grad=True)
    cost = loss(output, target)
    (gradient,) = torch.autograd.grad(cost, output)
    assert cost > 0
    assert gradient.isfinite().all()
    assert (gradient != 0).any(dim=-1).all()
    assert loss(target, target) == 0


def test_short_signals_are_extended_with_zeros_on_the_right(speech: Tensor) -> None:
    short = speech[..., :10]
    assert torch.equal(pad_reflect(short, 12, 4), F.pad(F.pad(short, (0, 3)), (12, 4), mode="reflect"))
    assert torch.equal(STFT(64, 16)(short), STFT(64, 16)(F.pad(short, (0, 54))))


@pytest.mark.parametrize("log_l2", [False, True])
def test_encodec_mel_equals_torchaudio(log_l2: bool, speech: Tensor) -> None:
    output = speech + 0.01 * torch.randn_like(speech)
    expected = 0.0
    for window in WINDOWS:
        hop = window // 4
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # bands that fall between two bins
            transform = torchaudio.transforms.MelSpectrogram(
                RATE, window, hop_length=hop, n_mels=64, normalized=True, center=False
            )
        margin = (window - hop) // 2
        length = -(-speech.shape[-1] // hop) * hop
        right = margin + length - speech.shape[-1]
        ours, theirs = (transform(F.pad(x, (margin, right), mode="reflect")) for x in (output, speech))
        assert ours.shape[-1] == length // hop
        expected += (ours - theirs).abs().mean()
        if log_l2:
            ours, theirs = torch.log10(1e-5 + ours), torch.log10(1e-5 + theirs)
        expected += (ours - theirs).square().mean()
    torch.testing.assert_close(EncodecMel(RATE, log_l2=log_l2)(output, speech), expected / 7, rtol=1e-5, atol=0)


@pytest.mark.parametrize("rate", [24_000, 44_100])
def test_dac_losses_equal_the_published_ones(rate: int, speech: Tensor) -> None:
    published = pytest.importorskip("dac.nn.loss", reason="descript-audio-codec is not installed")
    audiotools = pytest.importorskip("audiotools")
    output = speech + 0.01 * torch.randn_like(speech)
    signals = [audiotools.AudioSignal(x.clone(), rate) for x in (output, speech)]
    mel = published.MelSpectrogramLoss(
        n_mels=[5, 10, 20, 40, 80, 160, 320],
        window_lengths=list(WINDOWS),
        mel_fmin=[0.0] * 7,
        mel_fmax=[None] * 7,
        pow=1.0,
        mag_weight=0.0,
    )
    # librosa computes its mel bands in float64, torchaudio in float32
    torch.testing.assert_close(MultiScaleMel(rate)(output, speech), mel(*signals), rtol=1e-5, atol=0)
    stft = published.MultiScaleSTFTLoss()
    torch.testing.assert_close(MultiScaleSTFT()(output, speech), stft(*signals), rtol=1e-5, atol=0)


def test_dac_losses_equal_torchaudio(speech: Tensor) -> None:
    output = speech + 0.01 * torch.randn_like(speech)

    def log_difference(x: Tensor, y: Tensor) -> Tensor:
        return (x.clamp(min=1e-5).log10() - y.clamp(min=1e-5).log10()).abs().mean()

    mel = 0.0
    for window, bands in zip(WINDOWS, (5, 10, 20, 40, 80, 160, 320), strict=True):
        transform = torchaudio.transforms.MelSpectrogram(
            RATE, window, hop_length=window // 4, n_mels=bands, power=1.0, norm="slaney", mel_scale="slaney"
        )
        mel += log_difference(transform(output), transform(speech))
    torch.testing.assert_close(MultiScaleMel(RATE)(output, speech), mel, rtol=1e-5, atol=0)
    stft = 0.0
    for window in (2048, 512):
        transform = torchaudio.transforms.Spectrogram(window, hop_length=window // 4, power=1.0)
        x, y = transform(output), transform(speech)
        stft += (x - y).abs().mean() + 2 * log_difference(x, y)
    torch.testing.assert_close(MultiScaleSTFT()(output, speech), stft, rtol=1e-5, atol=0)


def test_buffers_follow_the_module_but_stay_out_of_checkpoints() -> None:
    loss = MultiScaleMel(RATE)
    assert not loss.state_dict()
    assert len(list(loss.buffers())) == 14
    assert all(buffer.device.type == "meta" for buffer in loss.to("meta").buffers())


def test_mel_bands_need_not_fill_the_spectrum() -> None:
    bands = MelScale(RATE, 32, 64).filters
    assert (bands.sum(dim=0) == 0).any()
    assert MelScale(RATE, 2048, 64, f_min=64.0).filters[:5].sum() == 0  # bins of 0 to 47 Hz


def test_unequal_scales_are_refused() -> None:
    with pytest.raises(CodecError, match="same number"):
        MultiScaleMel(RATE, windows=(32, 64), n_mels=(5,))


def test_noise_to_signal_is_the_inverse_snr_at_any_loudness(speech: Tensor) -> None:
    noise = torch.randn_like(speech)
    noise *= (speech.square().mean() / noise.square().mean()).sqrt() * 10 ** (-15 / 20)  # 15 dB below
    for gain in (1.0, 0.3):
        cost = NoiseToSignal(floor=0.0)(gain * (speech + noise), gain * speech)
        torch.testing.assert_close(cost, torch.tensor(10**-1.5), rtol=1e-3, atol=0)
