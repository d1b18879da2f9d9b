"""Resampling: parity with torchaudio, exact lengths, pieces, ratios without a table."""

import pytest
import torch
import torchaudio.functional as F

from neuralcodecs.audio import resample as module
from neuralcodecs.audio.resample import resample, resampled_length, support

RATES = [(16000, 24000), (44100, 24000), (48000, 24000), (24000, 44100), (22050, 16000)]


@pytest.mark.parametrize(("source", "target"), RATES)
def test_parity_with_torchaudio(source: int, target: int) -> None:
    signal = torch.randn(2, 30011) * 0.3
    # in float64, because torchaudio's function computes its filter in the signal's precision
    expected = F.resample(signal.double(), source, target, lowpass_filter_width=32, rolloff=0.96).float()
    assert resample(signal, source, target).shape == expected.shape
    torch.testing.assert_close(resample(signal, source, target), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(("source", "target"), RATES)
def test_without_a_table_the_result_is_the_same(source: int, target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    signal = torch.randn(1, 20011) * 0.3
    expected = resample(signal, source, target)
    monkeypatch.setattr(module, "MAX_TABLE", 0)
    # its phases are float32: up to 32 with a step of 4e-6
    torch.testing.assert_close(resample(signal, source, target), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("source", "target"), RATES)
def test_pieces_join_without_a_seam(source: int, target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    signal = torch.randn(1, 30011) * 0.3
    whole = resample(signal, source, target)
    monkeypatch.setattr(module, "PIECE", 2000)
    torch.testing.assert_close(resample(signal, source, target), whole, atol=1e-6, rtol=0)


@pytest.mark.parametrize("frames", [1, 2, 440, 441, 442, 16000])
@pytest.mark.parametrize(("source", "target"), [*RATES, (11025, 48000), (8000, 44100), (1000, 768000)])
def test_length_is_the_ceiling_and_comes_back(source: int, target: int, frames: int) -> None:
    there = resample(torch.zeros(1, frames), source, target)
    assert there.shape[-1] == resampled_length(frames, source, target) == -(-frames * target // source)
    assert resampled_length(there.shape[-1], target, source) >= frames


def test_length_beyond_the_integers_of_float32() -> None:
    frames = 2**24 + 2**20 + 1
    assert resample(torch.zeros(1, frames), 24000, 16000).shape[-1] == -(-frames * 2 // 3)


def test_coprime_rates_take_little_memory_and_keep_a_sine() -> None:
    source, target = 44101, 24000
    first, last = support(12000, 100, source, target)
    assert last - first < 400
    time = torch.arange(source, dtype=torch.float64) / source
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(target, dtype=torch.float64) / target).float()
    result = resample(torch.sin(2 * torch.pi * 440 * time).float()[None], source, target)[0]
    inner = slice(200, -200)
    torch.testing.assert_close(result[inner], expected[inner], atol=1e-3, rtol=0)


def test_images_are_below_60_db() -> None:
    rate, frequency = 16000, 7300
    tone = torch.sin(2 * torch.pi * frequency * torch.arange(rate, dtype=torch.float64) / rate).float()[None]
    spectrum = torch.fft.rfft(resample(tone, rate, 24000)[0] * torch.hann_window(24000)).abs()
    assert 20 * torch.log10(spectrum[8010:].max() / spectrum.max()) < -60


def test_equal_rates_change_nothing() -> None:
    signal = torch.randn(1, 100)
    assert resample(signal, 24000, 24000) is signal
