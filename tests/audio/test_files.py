"""Audio files of every kind that is promised, spans by seeking, and input that must be refused."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import SAMPLES
from examples import forge_flac

from neuralcodecs.audio import files
from neuralcodecs.errors import CodecError

SPEECH = SAMPLES / "speech" / "test" / "libri_1688-142285-0008.flac"
MUSIC = SAMPLES / "music" / "loop_compus.flac"
KINDS = {
    "pcm16.wav": ("WAV", "PCM_16", 44100, 2),
    "pcm24.wav": ("WAV", "PCM_24", 48000, 1),
    "float.wav": ("WAV", "FLOAT", 22050, 2),
    "double.wav": ("WAV", "DOUBLE", 16000, 1),
    "u8.wav": ("WAV", "PCM_U8", 8000, 1),
    "eight.wav": ("WAVEX", "PCM_16", 48000, 8),
    "odd.wav": ("WAV", "PCM_16", 44101, 1),
    "deep.flac": ("FLAC", "PCM_24", 96000, 2),
    "vorbis.ogg": ("OGG", "VORBIS", 44100, 2),
    "opus.ogg": ("OGG", "OPUS", 48000, 1),
    "layer3.mp3": ("MP3", "MPEG_LAYER_III", 44100, 2),
}


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return soundfile.read(SPEECH, dtype="float64")[0][:48000]


def _make(folder: Path, name: str, speech: np.ndarray) -> Path:
    form, subtype, rate, channels = KINDS[name]
    samples = np.stack([np.roll(speech, 1000 * c) * (1 - 0.1 * c) for c in range(channels)], axis=1)
    soundfile.write(folder / name, samples, rate, subtype, format=form)
    return folder / name


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_kind_is_read(name: str, channels: int, tmp_path: Path, speech: np.ndarray) -> None:
    path = _make(tmp_path, name, speech)
    _, _, rate, given = KINDS[name]
    signal, original = files.read(path, 24000, channels)
    assert (original.rate, original.channels) == (rate, given)
    assert original == files.info(path)
    assert signal.dtype == torch.float32
    assert signal.shape == (channels, -(-original.shape[0] * 24000 // rate))
    raw = torch.from_numpy(soundfile.read(path, dtype="float32", always_2d=True)[0].T.copy())
    # below both Nyquist frequencies resampling keeps the energy per second
    assert float(signal.square().mean()) == pytest.approx(float(files.mix(raw, channels).square().mean()), rel=0.1)


@pytest.mark.parametrize("name", KINDS)
def test_a_span_equals_the_slice_of_the_whole(name: str, tmp_path: Path, speech: np.ndarray) -> None:
    path = _make(tmp_path, name, speech)
    whole, _ = files.read(path, 24000, 1)
    length = whole.shape[-1]
    for start, frames in ((0, 4000), (7, 1), (length // 2 + 13, 5000), (length - 3000, 3000)):
        span = files.read_span(path, start, frames, 24000, 1)
        torch.testing.assert_close(span, whole[:, start : start + frames], atol=1e-5, rtol=0)


def test_a_span_beyond_the_end_is_padded_with_zeros() -> None:
    whole, _ = files.read(SPEECH, 24000, 1)
    length = whole.shape[-1]
    span = files.read_span(SPEECH, length - 100, 5000, 24000, 1)
    torch.testing.assert_close(span[:, :100], whole[:, -100:], atol=1e-5, rtol=0)
    assert span.shape == (1, 5000) and span[:, 100:].abs().max() < 0.01 and not span[:, 300:].any()
    assert not files.read_span(SPEECH, length + 24000, 50, 24000, 1).any()


def test_a_span_is_read_by_seeking(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    original = soundfile.SoundFile.read

    def read(self: soundfile.SoundFile, frames: int = -1, **settings: object) -> np.ndarray:
        counted.append(frames)
        return original(self, frames, **settings)

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    files.read_span(SPEECH, 48000, 2400, 24000, 1)
    assert 1600 <= sum(counted) < 2000


def test_mixing() -> None:
    signal = torch.arange(12.0).view(4, 3)
    assert torch.equal(files.mix(signal, 1), signal.mean(0, keepdim=True))
    assert torch.equal(files.mix(signal[:1], 2), signal[[0, 0]])
    assert torch.equal(files.mix(signal, 2), torch.stack([signal[[0, 2]].mean(0), signal[[1, 3]].mean(0)]))
    assert torch.equal(files.mix(signal[:3], 2), torch.stack([signal[[0, 2]].mean(0), signal[1]]))
    assert torch.equal(files.mix(signal[:2], 5), signal[[0, 1, 0, 1, 0]])
    assert files.mix(signal, 4) is signal


@pytest.mark.parametrize("name", ["copy.wav", "copy.flac", "COPY.WAV"])
def test_sixteen_bit_samples_come_back_unchanged(name: str, tmp_path: Path) -> None:
    before, rate = soundfile.read(MUSIC, dtype="int16", always_2d=True)
    signal, original = files.read(MUSIC, rate, original_channels := before.shape[1])
    files.write(tmp_path / name, signal, rate)
    after, _ = soundfile.read(tmp_path / name, dtype="int16", always_2d=True)
    assert original.channels == original_channels and np.array_equal(before, after)


def test_writing_clips(tmp_path: Path) -> None:
    files.write(tmp_path / "loud.wav", torch.tensor([[0.0, 1.5, -1.5, 1.0, -1.0]]), 24000)
    assert soundfile.read(tmp_path / "loud.wav", dtype="int16")[0].tolist() == [0, 32767, -32768, 32767, -32768]


@pytest.mark.parametrize(
    ("name", "channels", "rate", "said"),
    [
        ("a.mp3", 1, 24000, ".mp3"),
        ("a", 1, 24000, "suffix"),
        ("a.flac", 9, 24000, "9 channels"),
        ("a.wav", 1, 10, "10"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(name: str, channels: int, rate: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=said):
        files.write(tmp_path / name, torch.zeros(channels, 100), rate)
    assert list(tmp_path.iterdir()) == []


def _forge_wav(path: Path, field: int, form: str, value: int) -> None:
    soundfile.write(path, np.zeros(1000), 16000, "PCM_16")
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, field, value)
    path.write_bytes(data)


def _refused(path: Path, said: str) -> None:
    calls = (
        lambda: files.read(path, 24000, 1),
        lambda: files.read_span(path, 0, 24000, 24000, 1),
    )
    for call in calls:
        with pytest.raises(CodecError, match=said) as caught:
            call()
        assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_forged_flac_length_is_refused_by_the_limit(tmp_path: Path) -> None:
    forge_flac(tmp_path / "forged.flac", 2**36 - 1)
    _refused(tmp_path / "forged.flac", f"{2**36 - 1} samples x 1 channels exceed the limit of {files.MAX_SAMPLES}")


def test_forged_flac_length_below_the_limit_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forge_flac(tmp_path / "forged.flac", 2**29)
    largest = 0
    original = soundfile.SoundFile.read

    def read(self: soundfile.SoundFile, frames: int = -1, **settings: object) -> np.ndarray:
        nonlocal largest
        largest = max(largest, frames)
        return original(self, frames, **settings)

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    with pytest.raises(CodecError, match=f"shorter than the {2**29} samples"):
        files.read(tmp_path / "forged.flac", 16000, 1)
    assert 0 < largest <= files.BLOCK


def test_forged_wav_length_gives_what_the_file_holds(tmp_path: Path) -> None:
    _forge_wav(tmp_path / "forged.wav", 40, "<I", 2**32 - 2)
    signal, original = files.read(tmp_path / "forged.wav", 16000, 1)
    assert original.shape == (1000,) and signal.shape == (1, 1000)


@pytest.mark.parametrize("rate", [1, 2_000_000_000])
def test_forged_rate(rate: int, tmp_path: Path) -> None:
    _forge_wav(tmp_path / "forged.wav", 24, "<I", rate)
    _refused(tmp_path / "forged.wav", f"sample rate {rate} Hz")


def test_truncated_flac(tmp_path: Path) -> None:
    (tmp_path / "cut.flac").write_bytes(SPEECH.read_bytes()[:9000])
    said = set()
    for start in (0, 20000, 60000):
        with pytest.raises(CodecError, match=r"cut\.flac: damaged") as caught:
            files.read_span(tmp_path / "cut.flac", start, 6000, 16000, 1)
        said.add(str(caught.value))
    with pytest.raises(CodecError) as caught:
        files.read(tmp_path / "cut.flac", 16000, 1)
    assert said == {str(caught.value)}  # training counts bad files by their message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.wav", b""),
        ("text.wav", b"this is a text, not audio\n" * 50),
        ("a.raw", b"\0" * 100),
        ("a.mp3", b"x" * 9),
    ],
)
def test_not_audio(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    _refused(tmp_path / name, "not readable as audio")


def test_no_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    _refused(tmp_path / "none.wav", "no samples")


def test_not_finite(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, 0.1]), 16000, "FLOAT")
    _refused(tmp_path / "nan.wav", "not a number")


def test_formats_beyond_the_list(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.aiff", np.zeros(100), 16000)
    _refused(tmp_path / "a.aiff", "AIFF")
    soundfile.write(tmp_path / "a.wav", np.zeros(1000), 16000, "IMA_ADPCM")
    _refused(tmp_path / "a.wav", "IMA_ADPCM")


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    _refused(tmp_path / "absent.wav", "no such file")
    _refused(tmp_path, "no such file")
