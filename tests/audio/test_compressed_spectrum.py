"""The compressed-spectrum loss on real speech."""

import pytest
import torch
from examples import speech

from neuralcodecs.audio import CompressedSpectrum, files


def _speech() -> torch.Tensor:
    return files.read(speech()[0], 16000, 1)[0][None, :, 8000:40000]


def test_ignores_the_level_of_quiet_items_and_grows_with_noise() -> None:
    signal = _speech()
    loss = CompressedSpectrum()
    noise = torch.randn(signal.shape, generator=torch.Generator().manual_seed(0)) * signal.std()
    distances = [float(loss(signal + share * noise, signal)) for share in (0.0, 0.01, 0.1, 1.0)]
    assert distances[0] == 0
    assert distances == sorted(distances)
    quiet = float(loss(0.1 * (signal + 0.1 * noise), 0.1 * signal))
    assert quiet == pytest.approx(distances[2], rel=0.05)  # the floor of 1e-5 counts a little at a tenth of the level


def test_phases_count_and_silence_has_a_finite_gradient() -> None:
    signal = _speech()
    loss = CompressedSpectrum()
    assert float(loss(-signal, signal)) > 0.1
    assert float(CompressedSpectrum(share=0.0)(-signal, signal)) == pytest.approx(0.0, abs=1e-6)
    silent = torch.zeros_like(signal).requires_grad_()
    loss(silent, signal).backward()
    assert silent.grad is not None
    assert silent.grad.isfinite().all()
    assert silent.grad.abs().max() > 0
