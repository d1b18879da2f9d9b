"""The loss of STOI against the published metric, on real speech."""

import pytest
import torch
from conftest import SAMPLES
from pystoi import stoi

from neuralcodecs.audio import IntelligibilityLoss, files


def _speech(index: int = 0) -> torch.Tensor:
    path = sorted((SAMPLES / "speech" / "test").glob("*.flac"))[index]
    return files.read(path, 16000, 1)[0][None, :, 8000:72000]


def _noisy(signal: torch.Tensor, share: float) -> torch.Tensor:
    return signal + share * signal.std() * torch.randn(signal.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("share", [0.03, 0.3, 1.0, 3.0])
def test_agrees_with_stoi_about_noise(share: float, index: int) -> None:
    signal = _speech(index)
    noisy = _noisy(signal, share)
    published = stoi(signal[0, 0].numpy(), noisy[0, 0].numpy(), 16000)
    # frames of silence are left out of sums, not cut out of the signal: 0.027 was the most seen on four files
    assert 1 - float(IntelligibilityLoss(16000)(noisy, signal)) == pytest.approx(published, abs=0.03)


def test_is_zero_for_equal_signals_and_ignores_levels() -> None:
    signal, loss = _speech(), IntelligibilityLoss(16000)
    assert float(loss(signal, signal)) == pytest.approx(0, abs=1e-6)
    assert float(loss(0.2 * signal, signal)) == pytest.approx(0, abs=1e-3)
    both = torch.cat([_noisy(signal, 0.1), signal]), torch.cat([signal, signal])
    each = loss.of_each(*both)
    assert float(each[1]) == pytest.approx(0, abs=1e-6)
    assert float(loss(*both)) == pytest.approx(float(each[0]) / 2, rel=1e-3)
    louder = loss(_noisy(signal, 0.1) * 0.1, signal * 0.1)
    assert float(louder) == pytest.approx(float(each[0]), rel=1e-3)


def test_hears_at_another_rate_what_it_hears_at_16_khz() -> None:
    signal = _speech()
    wide = torch.nn.functional.interpolate(signal, scale_factor=3, mode="linear")
    noisy = torch.nn.functional.interpolate(_noisy(signal, 0.3), scale_factor=3, mode="linear")
    at_rate = float(IntelligibilityLoss(48000)(noisy, wide))
    assert not IntelligibilityLoss(48000).state_dict()  # its filter is no part of checkpoints
    assert at_rate == pytest.approx(float(IntelligibilityLoss(16000)(_noisy(signal, 0.3), signal)), abs=0.02)


@pytest.mark.parametrize("length", [100, 600, 16000])
def test_gradients_are_finite_in_silence_and_for_short_crops(length: int) -> None:
    signal, loss = _speech()[..., :length], IntelligibilityLoss(16000)
    silence = torch.zeros_like(signal)
    for output, target in ((silence, signal), (signal.clone(), signal), (signal.clone(), silence), (silence, silence)):
        leaf = output.clone().requires_grad_()
        value = loss(leaf, target)
        (gradient,) = torch.autograd.grad(value, leaf)
        assert value.isfinite() and gradient.isfinite().all()


def test_a_step_down_its_gradient_is_heard() -> None:
    signal, loss = _speech(), IntelligibilityLoss(16000)
    leaf = _noisy(signal, 1.0).requires_grad_()
    value = loss(leaf, signal)
    (gradient,) = torch.autograd.grad(value, leaf)
    before = value.item()
    moved = (leaf - 0.3 * leaf.norm() * gradient / gradient.norm()).detach()
    assert float(loss(moved, signal)) < before - 0.05
    assert stoi(signal[0, 0].numpy(), moved[0, 0].numpy(), 16000) > 1 - before + 0.03
