"""Pitch, mel cepstrum and DNSMOS: identities, known distances, order, refusals."""

import math

import numpy as np
import pytest
import torch
from conftest import SAMPLES

from neuralcodecs.audio import Audio
from neuralcodecs.criteria import MetricFailure

pytest.importorskip("pyworld", reason="F0 and MCD need the package pyworld")
from neuralcodecs.audio.voice_metrics import WARP, F0Correlation, MelCepstralDistortion, further_metrics, mel_cepstrum


def speech(samples: int = 32000) -> torch.Tensor:
    path = sorted((SAMPLES / "speech" / "test").glob("*.flac"))[0]
    return Audio(16000).read(path)[0][:, 8000 : 8000 + samples]


def test_a_cepstrum_is_that_of_its_spectrum() -> None:
    """A log amplitude of 0.3 cos(w) + 0.1 cos(5 w) on the warped axis has these two coefficients."""
    plain = np.linspace(0, np.pi, 1025)
    warped = plain + 2 * np.arctan(WARP * np.sin(plain) / (1 - WARP * np.cos(plain)))  # Oppenheim's all-pass
    power = np.exp(2 * (1.5 + 0.3 * np.cos(warped) + 0.1 * np.cos(5 * warped)))
    expected = np.zeros(24)
    expected[[0, 4]] = 0.3, 0.1
    assert np.abs(mel_cepstrum(power[None])[0] - expected).max() < 1e-3


def test_distortion_ignores_loudness_and_knows_a_filter() -> None:
    metric, original = MelCepstralDistortion(), speech()
    assert metric(original, original, 16000)["mcd"] == 0
    assert metric(0.5 * original, original, 16000)["mcd"] < 0.3
    filtered = torch.nn.functional.conv1d(original[None], torch.tensor([[[0.0, 1.0, -0.9]]]), padding=1)[0]
    noisy = original + 0.01 * torch.randn(original.shape, generator=torch.Generator().manual_seed(0))
    assert metric(filtered, original, 16000)["mcd"] > 2 and metric(noisy, original, 16000)["mcd"] > 2


def test_pitch_follows_and_needs_a_voice() -> None:
    metric, original = F0Correlation(), speech()
    assert metric(original, original, 16000)["f0_correlation"] == pytest.approx(1)
    assert metric(0.1 * original, original, 16000)["f0_correlation"] > 0.95
    time = torch.arange(32000) / 16000
    glide, steady = (0.3 * torch.sin(2 * math.pi * phase)[None] for phase in (150 * time + 20 * time**2, 150 * time))
    with pytest.raises(MetricFailure):
        metric(0.05 * torch.randn(1, 32000, generator=torch.Generator().manual_seed(0)), original, 16000)
    with pytest.raises(MetricFailure, match="silent"):
        metric(torch.zeros(1, 32000), original, 16000)
    try:  # a steady tone has no course to correlate with, or noise of one
        assert abs(metric(steady, glide, 16000)["f0_correlation"]) < 0.9
    except MetricFailure as error:
        assert "constant" in str(error)


def test_dnsmos_prefers_speech_to_noise() -> None:
    pytest.importorskip("speechmos", reason="DNSMOS needs the package speechmos")
    metric = next((m for m in further_metrics()[0] if "dnsmos_ovrl" in m.names), None)
    if metric is None:
        pytest.skip(further_metrics()[1]["dnsmos"])
    original = speech()
    noisy = (original + 0.1 * torch.randn(original.shape, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    clean, dirty = metric(original, original, 16000), metric(noisy, original, 16000)
    assert clean.keys() == set(metric.names) and all(1 <= v <= 5 for v in (*clean.values(), *dirty.values()))
    assert clean["dnsmos_ovrl"] > dirty["dnsmos_ovrl"] + 0.5
    with pytest.raises(MetricFailure, match="silent"):
        metric(torch.zeros(1, 32000), original, 16000)
