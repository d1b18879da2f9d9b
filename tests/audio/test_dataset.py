"""Crops of real files: deterministic, at the right places, padded, cached, augmented."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import SAMPLES

from neuralcodecs.audio import files
from neuralcodecs.audio.augment import GainAndMix
from neuralcodecs.audio.dataset import AudioCentres, AudioCrops, AudioFile, scan
from neuralcodecs.errors import CodecError
from neuralcodecs.sources import Source, entries

RATE = 24000
SUFFIXES = (".wav", ".flac")


def _source(number: int = 0) -> np.random.Generator:
    return np.random.default_rng(number)


@pytest.fixture(scope="module")
def audio() -> list[AudioFile]:
    found, failed = scan(entries([Source(str(SAMPLES / "manifest.csv"), split="test")], SUFFIXES), RATE)
    assert failed == []
    return found


def test_scan_knows_the_length_at_the_codecs_rate(audio: list[AudioFile]) -> None:
    for file in audio:
        assert file.length == files.read(file.path, RATE, 1)[0].shape[-1]


def test_scan_names_bad_files(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("no audio")
    soundfile.write(tmp_path / "good.wav", np.zeros(100), 16000)
    found, failed = scan(entries([str(tmp_path)], SUFFIXES), RATE)
    assert [f.path.name for f in found] == ["good.wav"]
    assert len(failed) == 1 and "bad.wav" in failed[0]


def test_a_crop_is_a_piece_of_its_file_and_a_function_of_the_generator(audio: list[AudioFile]) -> None:
    crops = AudioCrops(audio, RATE, 1, 12000)
    for number, file in enumerate(audio):
        start = int(_source(number).integers(file.length - 12000 + 1))
        whole, _ = files.read(file.path, RATE, 1)
        drawn = crops.draw(number, _source(number))
        torch.testing.assert_close(drawn, whole[:, start : start + 12000], atol=1e-5, rtol=0)
        assert torch.equal(drawn, crops.draw(number, _source(number)))
        assert not torch.equal(drawn, crops.draw(number, _source(number + 1)))


def test_a_short_file_is_padded_with_zeros(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.full(1000, 0.5), RATE)
    found, _ = scan(entries([str(tmp_path)], SUFFIXES), RATE)
    crop = AudioCrops(found, RATE, 2, 4000).draw(0, _source())
    assert crop.shape == (2, 4000) and (crop[:, :1000] == 0.5).all() and not crop[:, 1000:].any()


def test_long_files_are_drawn_more_often(audio: list[AudioFile]) -> None:
    crops = AudioCrops([audio[0]._replace(weight=2.0), audio[1], audio[2]._replace(length=5)], RATE, 1, RATE)
    assert crops.shares.tolist() == [2 * audio[0].length / RATE, audio[1].length / RATE, 1.0]


def test_cached_and_seeking_crops_are_the_same(audio: list[AudioFile], monkeypatch: pytest.MonkeyPatch) -> None:
    seeking, cached = (AudioCrops(audio, RATE, 2, 12000, cache=cache) for cache in (False, True))
    expected = [seeking.draw(n, _source(n)) for n in range(len(audio))]
    monkeypatch.setattr(files, "read_span", None)  # the cache must not need the disk
    for number, crop in enumerate(expected):
        torch.testing.assert_close(cached.draw(number, _source(number)), crop, atol=1e-5, rtol=0)


def test_the_cache_pads_within_its_file(tmp_path: Path) -> None:
    for name, value in (("a", 0.25), ("b", 0.5), ("c", 0.75)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(1000, value), RATE)
    found, _ = scan(entries([str(tmp_path)], SUFFIXES), RATE)
    crops = AudioCrops(found, RATE, 1, 1500, cache=True)
    for number, value in enumerate((0.25, 0.5, 0.75)):
        crop = crops.draw(number, _source())
        assert (crop[:, :1000] == value).all() and not crop[:, 1000:].any()


def test_a_cache_larger_than_the_memory_is_refused(audio: list[AudioFile]) -> None:
    with pytest.raises(CodecError, match="set cache to false"):
        AudioCrops([audio[0]._replace(length=2**50)], RATE, 1, RATE, cache=True)


def test_a_damaged_file_in_the_cache_is_named_when_it_is_drawn(tmp_path: Path) -> None:
    whole = (SAMPLES / "speech" / "test" / "libri_1688-142285-0008.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    found, failed = scan(entries([str(tmp_path)], SUFFIXES), RATE)
    assert failed == []
    crops = AudioCrops(found, RATE, 1, found[0].length, cache=True)
    with pytest.raises(CodecError, match=r"cut\.flac"):
        crops.draw(0, _source())


def test_centres_are_the_middle_of_each_file(audio: list[AudioFile]) -> None:
    centres = AudioCentres(audio, RATE, 1, 4 * RATE)
    assert len(centres) == len(audio)
    for number, file in enumerate(audio):
        whole, _ = files.read(file.path, RATE, 1)
        start = (file.length - 4 * RATE) // 2
        torch.testing.assert_close(centres[number], whole[:, start : start + 4 * RATE], atol=1e-5, rtol=0)
    assert AudioCentres(audio, RATE, 1, 2**30)[0].shape[-1] == audio[0].length


def test_mixes_have_the_recipes_probabilities() -> None:
    augmentation = GainAndMix()
    for kind, expected in (("speech", (0.64, 0.24, 0.12)), ("music", (0.76, 0.24, 0.0))):
        source = _source()
        drawn = [augmentation.partners(kind, source) for _ in range(4000)]
        shares = [sum(p.number == n for p in drawn) / 4000 for n in range(3)]
        assert np.allclose(shares, expected, atol=0.025)
        assert all(p.without == ("music" if p.number == 2 else None) for p in drawn)


def test_partners_are_not_of_the_kind_that_is_left_out(audio: list[AudioFile]) -> None:
    crops = AudioCrops(audio, RATE, 1, RATE)
    kinds = {
        without: {audio[crops._other(without, _source(n))].kind for n in range(100)} for without in ("music", None)
    }
    assert kinds == {"music": {"speech"}, None: {"speech", "music"}}


def test_gain_stays_in_its_range_and_nothing_clips(audio: list[AudioFile]) -> None:
    tone = torch.sin(torch.arange(RATE) * 0.1)[None]
    crop = AudioCrops(audio, RATE, 1, RATE).draw(0, _source())
    alone = GainAndMix(two=0.0, three=0.0)
    levels = []
    for number in range(100):
        assert alone([crop], _source(number)).abs().max() <= 1
        result = alone([tone], _source(number))
        levels.append(10 * float(torch.log10(result.square().mean())) + 24)
    assert -10.01 < min(levels) < -8 and 4 < max(levels) < 6.01
    loud = GainAndMix(level_db=0.0, gain_db=(6.0, 6.0))
    assert float(loud([crop, crop], _source()).abs().max()) == pytest.approx(1.0)


def test_silence_stays_silent() -> None:
    result = GainAndMix()([torch.zeros(1, 100)], _source())
    assert not result.any()
    assert GainAndMix()([torch.full((1, 100), 1e-9)], _source()).abs().max() < 1e-5


def test_augmented_examples_are_a_function_of_the_generator(audio: list[AudioFile]) -> None:
    crops = AudioCrops(audio, RATE, 1, 6000, GainAndMix(two=0.5, three=0.5))
    for number in range(6):
        assert torch.equal(crops.draw(0, _source(number)), crops.draw(0, _source(number)))


@pytest.mark.parametrize("settings", [{"two": 0.8, "three": 0.3}, {"two": -0.1}, {"gain_db": (6.0, -10.0)}])
def test_augmentation_arguments_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(CodecError):
        GainAndMix(**settings)
