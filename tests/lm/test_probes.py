"""The battery: each figure against what it must be for codes that are known, and the command on real codecs."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from test_codec_tokenizer import photo, small, wave

from neuralcodecs import Codec
from neuralcodecs.cli import main
from neuralcodecs.lm.probes import probe, table
from neuralcodecs.lm.probes.counts import bpe_ratio, conditional_entropy, usage
from neuralcodecs.lm.probes.linear import features, linear_probe
from neuralcodecs.lm.probes.small_lm import model_bits
from neuralcodecs.lm.probes.stability import changes, distance, edits, stability

RANDOM = np.random.default_rng(0)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def speech() -> Codec:
    codec = small("audio/quickstart_speech.yaml").train()
    for _ in range(3):  # codebooks that were never used give every frame one code
        codec(wave(codec, 16000)[None])
        codec.quantizer.update()
    return codec.eval()


def test_counts_of_known_codes() -> None:
    even = np.tile(np.arange(4), 250)[None]
    figures = usage([even], (16,))
    assert figures["usage"] == 0.25
    assert figures["entropy_bits"] == pytest.approx(2)
    assert figures["entropy_of_alphabet"] == pytest.approx(0.5)
    assert figures["entropy_of_used"] == pytest.approx(1)
    assert conditional_entropy([even], (16,)) == pytest.approx(0, abs=0.01)
    independent = RANDOM.integers(0, 4, (2, 20000))
    assert conditional_entropy([independent], (4, 4)) == pytest.approx(2, abs=0.01)
    picture = np.repeat(np.arange(64)[:, None] % 4, 64, 1)[None]  # rows of one code: no pair goes over their ends
    assert conditional_entropy([picture], (4,)) == 0


def test_byte_pairs_shorten_what_repeats() -> None:
    phrases = RANDOM.integers(0, 64, (8, 16))
    repeated = phrases[RANDOM.integers(0, 8, 64)].ravel()[None]
    noise = RANDOM.integers(0, 64, (1, 1024))
    assert bpe_ratio([repeated], [repeated[:, :512]], (64,)) > 8
    assert bpe_ratio([noise], [RANDOM.integers(0, 64, (1, 1024))], (64,)) < 1.3


@pytest.mark.parametrize(
    "one, other, count",
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("abcd", "bcd", 1), ("abc", "abc", 0), ("ab", "ba", 2)],
)
def test_edits(one: str, other: str, count: int) -> None:
    assert edits(*(np.array([ord(c) for c in text], dtype=np.int64) for text in (one, other))) == count


def test_distances() -> None:
    codes = RANDOM.integers(0, 9, (2, 100))
    assert distance(codes, codes) == 0
    assert distance(codes, codes[:, 1:]) == pytest.approx(0.01)
    picture = RANDOM.integers(0, 9, (2, 8, 8))
    other = picture.copy()
    other[0, 0] += 9
    assert distance(picture, other) == pytest.approx(8 / 128)
    assert distance(picture, picture[:, :, 1:]) > 0.5


def test_changes_are_what_they_are_called() -> None:
    codec = small("audio/quickstart_speech.yaml")
    signal = wave(codec, 16000)
    changed = {name: change(signal) for name, change in changes(1).items()}
    noise = changed["noise"] - signal
    assert 20 * math.log10(signal.std() / noise.std()) == pytest.approx(20, abs=0.2)
    assert 20 * math.log10(changed["gain"].std() / signal.std()) == pytest.approx(-6, abs=0.01)
    assert torch.equal(changed["shift"], signal[:, 1:])
    assert changed["faster"].shape[1] == pytest.approx(16000 * 20 / 21, abs=2)
    assert changed["slower"].shape[1] == pytest.approx(16000 * 20 / 19, abs=2)
    assert set(changes(2)) == {"noise", "gain", "shift"}


def test_stability_of_real_codecs(speech: Codec) -> None:
    signal = wave(speech, 8000)
    figures = stability(speech, signal, speech.encode(signal[None], 2), 2)
    assert all(0 <= value <= 1.2 for value in figures.values())
    assert figures["distance_noise"] > 0
    picture = small("image/quickstart_image.yaml")
    image = photo(picture, 40, 48)
    assert stability(picture, image, picture.encode(image[None]), 2)["distance_shift"] > 0.05


def test_the_small_model_finds_what_is_there_and_nothing_in_noise() -> None:
    def extent(grid: tuple[int, ...]) -> float:
        return grid[0] / 50

    noise = [torch.from_numpy(RANDOM.integers(0, 8, (2, 300))) for _ in range(4)]
    # the first row counts, the second is told by the first: only the start is new
    counts = [torch.from_numpy((np.arange(300) + start) % 8) for start in RANDOM.integers(0, 8, 4)]
    rules = [torch.stack([row, (3 * row + 1) % 8]) for row in counts]
    nominal = 2 * 3 * 50
    bits = model_bits(noise[:2], noise[2:], (8, 8), 100.0, extent, CPU)
    assert nominal * 0.99 < bits < nominal * 1.1
    assert model_bits(rules[::2], rules[1::2], (8, 8), 400.0, extent, CPU) < nominal * 0.2


def test_the_linear_probe_tells_apart_what_differs() -> None:
    names = [name for name in "abc" for _ in range(8)] + ["alone"]
    source = torch.Generator().manual_seed(0)
    shifted = [torch.randn(6, 40, generator=source) + "abc".find(name) for name in names]
    told = linear_probe([features(latents) for latents in shifted], names)
    assert told == {"probe_accuracy": 1.0, "probe_chance": pytest.approx(1 / 3)}
    same = [features(torch.randn(6, 40, generator=source)) for _ in names]
    assert linear_probe(same, names)["probe_accuracy"] < 0.7
    assert linear_probe(same[:2], ["a", "b"]) == {}


def test_the_command_compares_codecs(speech: Codec, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speech.save_pretrained(tmp_path / "one")
    small("audio/quickstart_speech.yaml").save_pretrained(tmp_path / "two")
    folder = tmp_path / "speech"
    folder.mkdir()
    medium = speech.medium
    for number, path in enumerate(sorted((SAMPLES / "speech" / "train").glob("*.flac"))[:6]):
        signal, info = medium.read(path)
        medium.write(folder / f"{number}.wav", signal[:, 8000:16000], type(info)(16000, 1, (8000,)))
    (folder / "bad.wav").write_bytes(b"no sound")
    rows = "".join(f"speech/{n}.wav,{'kathleen' if n < 4 else 'libri'}\n" for n in range(6))
    (tmp_path / "manifest.csv").write_text(f"path,who\n{rows}")
    models = [str(tmp_path / name) for name in ("one", "two")]
    common = ["probe", *models, "--data", str(folder), "--levels", "2", "--budget", "10", "--device", "cpu"]
    assert main([*common, "--labels", f"{tmp_path}/manifest.csv:who", "--out", str(tmp_path / "p.json")]) == 1
    printed, told = capsys.readouterr()
    assert told.count("bad.wav") == 1
    results = json.loads((tmp_path / "p.json").read_text())
    assert list(results) == models
    for figures in results.values():
        assert figures["files"] == 6 and len(figures["unreadable"]) == 1
        assert figures["nominal_bits_per_second"] == pytest.approx(2 * 4 * 100, rel=0.01)
        assert 0 < figures["model_bits_per_second"] < 1.2 * figures["nominal_bits_per_second"]
        assert figures["probe_chance"] == pytest.approx(4 / 6)
        assert set(figures) - {"unreadable", "fingerprint"} <= set(printed.split())
    for wrong, reason in (
        (["--labels", f"{tmp_path}/manifest.csv:age"], "needs the columns path and age"),
        (["--labels", f"{SAMPLES}/manifest.csv:group"], "none of the 7 files"),
        (["--out", str(tmp_path / "p.json")], "add --overwrite"),
        ([str(tmp_path / "three")], "three"),
    ):
        assert main([*common, *wrong] if wrong[0].startswith("--") else ["probe", *wrong, *common[1:]]) == 2
        assert reason in capsys.readouterr().err


def test_pictures_are_probed_too(tmp_path: Path) -> None:
    codec = small("image/quickstart_image.yaml")
    paths = []
    for number in range(2):
        signal = photo(codec, 48, 64 + 8 * number)
        info = type(codec.medium.read(SAMPLES / "image" / "test" / "kodim23.png")[1])(0, 3, tuple(signal.shape[1:]))
        paths.append(tmp_path / f"{number}.png")
        codec.medium.write(paths[-1], signal, info)
    figures = probe(codec, paths, {}, budget=20000.0)
    assert figures["pixels"] == 48 * (64 + 72)
    assert "probe_accuracy" not in figures and "distance_faster" not in figures
    assert "model_bits_per_pixel" in table({"a": figures})
