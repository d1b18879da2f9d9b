"""Audio as a medium: exact lengths both ways, channels, rates, units, and what TensorBoard is given."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import SAMPLES
from torch import Tensor

from neuralcodecs.audio.files import MAX_SAMPLES
from neuralcodecs.audio.medium import Audio, spectrogram
from neuralcodecs.errors import CodecError
from neuralcodecs.medium import SignalInfo

SPEECH = SAMPLES / "speech" / "test" / "libri_1688-142285-0008.flac"
MUSIC = SAMPLES / "music" / "loop_compus.flac"


@pytest.mark.parametrize("sample_rate", [16000, 44100])
@pytest.mark.parametrize("frames", [1, 2, 999, 24001])
@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2), (48000, 6), (11025, 1), (24001, 2)])
def test_as_many_samples_come_out_as_went_in(
    sample_rate: int, frames: int, rate: int, channels: int, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (frames, channels))
    soundfile.write(tmp_path / "in.wav", noise, rate)
    medium = Audio(sample_rate, channels=2)
    signal, original = medium.read(tmp_path / "in.wav")
    medium.write(tmp_path / "out.wav", signal, original)
    assert medium.info(tmp_path / "out.wav") == original == SignalInfo(rate, channels, (frames,))


@pytest.mark.parametrize("path", [SPEECH, MUSIC], ids=lambda p: p.stem)
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_at_the_files_own_rate_and_channels_nothing_changes(path: Path, suffix: str, tmp_path: Path) -> None:
    before, rate = soundfile.read(path, dtype="int16", always_2d=True)
    medium = Audio(rate, channels=before.shape[1])
    medium.write(tmp_path / f"out{suffix}", *medium.read(path))
    assert np.array_equal(soundfile.read(tmp_path / f"out{suffix}", dtype="int16", always_2d=True)[0], before)


def test_through_a_higher_rate_speech_keeps_85_percent_of_its_band(tmp_path: Path) -> None:
    before = soundfile.read(SPEECH)[0]
    medium = Audio(24000)
    medium.write(tmp_path / "out.wav", *medium.read(SPEECH))
    spectrum, noise = (np.abs(np.fft.rfft(x)) for x in (before, soundfile.read(tmp_path / "out.wav")[0] - before))
    band = slice(0, int(0.85 * len(spectrum)))
    assert 10 * np.log10(np.square(spectrum[band]).sum() / np.square(noise[band]).sum()) > 55


def test_stereo_through_a_mono_codec_is_the_mean_twice(tmp_path: Path) -> None:
    before, rate = soundfile.read(MUSIC, dtype="float32")
    medium = Audio(rate)
    medium.write(tmp_path / "out.wav", *medium.read(MUSIC))
    after = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    assert np.array_equal(after[:, 0], after[:, 1])
    assert np.abs(after[:, 0] - before.mean(axis=1)).max() <= 1 / 32768


def test_a_short_or_long_decoding_is_padded_or_cut(tmp_path: Path) -> None:
    medium, original = Audio(24000), SignalInfo(24000, 1, (1000,))
    for frames in (900, 1100):
        medium.write(tmp_path / "out.wav", torch.full((1, frames), 0.5), original)
        after = soundfile.read(tmp_path / "out.wav")[0]
        assert len(after) == 1000 and (after != 0).sum() == min(frames, 1000)


def test_a_forged_original_is_refused(tmp_path: Path) -> None:
    for forged in (SignalInfo(24000, 1, (MAX_SAMPLES + 1,)), SignalInfo(0, 1, (10,)), SignalInfo(24000, 2**31, (9,))):
        with pytest.raises(CodecError):
            Audio(24000).write(tmp_path / "out.wav", torch.zeros(1, 10), forged)
    assert list(tmp_path.iterdir()) == []


def test_units() -> None:
    medium = Audio(24000)
    assert medium.rate == 24000 and medium.suffixes[0] == ".wav" and medium.unit == "kbit/s"
    assert medium.extent((48000,)) == 2.0
    assert medium.bitrate(12000.0, (48000,)) == 6.0


def test_it_describes_itself() -> None:
    assert Audio(24000).describe() == {
        "class_path": "neuralcodecs.audio.medium.Audio",
        "init_args": {"sample_rate": 24000, "channels": 1},
    }


@pytest.mark.parametrize(("rate", "channels"), [(0, 1), (-24000, 1), (24000, 0)])
def test_arguments_are_checked(rate: int, channels: int) -> None:
    with pytest.raises(CodecError):
        Audio(rate, channels)


class Recorder:
    """A Writer that keeps what it is given."""

    def __init__(self) -> None:
        self.given: dict[str, Tensor] = {}

    def add_audio(self, tag: str, snd_tensor: Tensor, global_step: int, sample_rate: int) -> None:
        self.given[tag] = snd_tensor

    def add_image(self, tag: str, img_tensor: Tensor, global_step: int) -> None:
        self.given[tag] = img_tensor


def test_show_writes_sound_and_spectrogram() -> None:
    medium, recorder = Audio(24000, channels=2), Recorder()
    signal, _ = medium.read(MUSIC)
    medium.show(recorder, "music", signal * 3, 7)
    assert set(recorder.given) == {"music", "music/spectrogram"}
    assert recorder.given["music"].abs().max() <= 1
    picture = recorder.given["music/spectrogram"]
    assert picture.shape[0] == 3 and picture.min() >= 0 and picture.max() <= 1


def test_show_is_taken_by_tensorboard(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        Audio(24000, 2).show(writer, "noise", torch.randn(2, 24000) * 0.1, 0)
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) > 24000


def test_the_spectrogram_of_a_sine_is_brightest_at_its_frequency() -> None:
    rate, frequency = 24000, 3000
    picture = spectrogram(torch.sin(2 * torch.pi * frequency * torch.arange(rate) / rate))
    brightness = picture[:, 40]
    assert picture.shape[0] == 513
    assert 512 - int(brightness.argmax()) == frequency * 1024 // rate
    assert torch.equal(spectrogram(torch.zeros(100))[0, 0], picture[0, 40])  # silence is the floor


def test_long_spectrograms_are_bounded() -> None:
    assert spectrogram(torch.zeros(24000 * 60)).shape[1] <= 1002


def test_default_metrics() -> None:
    metrics = Audio(24000).metrics()
    assert len({name for metric in metrics for name in metric.names}) >= len(metrics) > 0


def test_metrics_know_of_no_networks() -> None:
    with pytest.raises(CodecError, match="weights for lpips"):
        Audio(24000).metrics({"lpips": Path("x")})


def test_difference_is_neutral_for_equal_signals_and_red_where_the_decoding_is_louder() -> None:
    medium = Audio(24000, 2)
    signal, _ = medium.read(MUSIC)
    equal, louder = (medium.difference(gain * signal, signal) for gain in (1.0, 2.0))
    assert equal.shape == medium.picture(signal).shape
    assert torch.equal(equal, equal[:, :1, :1].expand_as(equal))
    red, _, blue = louder.mean(dim=(1, 2)) - equal.mean(dim=(1, 2))
    assert red > 0 > blue
