"""The default models that come with the package, as they are shipped: small, whole, exact and with their cards."""

import json
from functools import cache
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from conftest import SAMPLES
from PIL import Image as Pillow
from streaming_codecs import assert_equal_codes, streamed_codes, streamed_signal

import neuralcodecs
from neuralcodecs import Codec, models
from neuralcodecs.audio.metrics import PESQWideband
from neuralcodecs.cli import main
from neuralcodecs.image.metrics import PSNR
from neuralcodecs.pretrained import fingerprint, load_state

MOST_BYTES = 24_000_000
NAMES = ("speech", "image")
pytestmark = pytest.mark.skipif(not models.SHIPPED.is_dir(), reason="this tree has no default models")

SPEECH = SAMPLES / "speech" / "test" / "libri_1688-142285-0008.flac"
PICTURE = SAMPLES / "image" / "test" / "kodim19.png"


@pytest.fixture(autouse=True)
def _no_other_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.HOME, str(tmp_path / "home"))


@cache
def shipped(name: str) -> Codec:
    return neuralcodecs.load(models.SHIPPED / name)


def test_they_are_small() -> None:
    assert sorted(path.name for path in models.SHIPPED.iterdir()) == sorted(NAMES)
    assert sum(path.stat().st_size for path in models.SHIPPED.rglob("*") if path.is_file()) <= MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_of_half_precision_and_of_the_fingerprint_that_they_state(name: str) -> None:
    codec = shipped(name)
    assert fingerprint(codec).hex() == models.stored_fingerprint(models.SHIPPED / name)
    state = load_state(models.SHIPPED / name)
    assert all(state[key].dtype == torch.float16 for key, _ in codec.named_parameters() if state[key].any())
    assert all(weight.dtype == torch.float32 for weight in codec.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_cards_state_data_licence_training_and_figures_of_these_weights(name: str) -> None:
    folder = models.SHIPPED / name
    card = (folder / "README.md").read_text()
    metrics = json.loads((folder / models.METRICS).read_text())
    assert metrics["model"] == fingerprint(shipped(name)).hex() and metrics["model"] in card
    assert yaml.safe_load(card.split("---")[1])["license"] == "apache-2.0"
    for fact in ("data", "licence of the data", "licence of the weights", "training", "steps", "GPU minutes"):
        assert f"\n* {fact}: " in card and f"\n* {fact}: not stated" not in card, fact
    wanted = ("pesq_wb", "stoi", "mel_distance") if name == "speech" else ("psnr", "ms_ssim")
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert all(metric in rows[0] for metric in wanted)
    for setting in metrics["settings"]:
        figures = [f"{setting['written']:.3f}", *(f"{setting['figures'][metric]:.3f}" for metric in wanted)]
        assert any(all(f" {figure} " in row for figure in figures) for row in rows)
    assert [s["levels"] for s in metrics["settings"]] == list(shipped(name).quantizer.levels)
    assert {s["files"] for s in metrics["settings"]} == {35 if name == "speech" else 24}


def test_without_a_model_speech_comes_back_and_its_prior_saves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coded, back = tmp_path / "a.ncs", tmp_path / "a.wav"
    assert main(["encode", str(SPEECH), "-o", str(coded), "--levels", "2"]) == 0
    assert main(["info", str(coded), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["model name"] == "speech" and "prior" in facts["coder of codes"]
    nominal, written = (int(part.split()[0]) for part in facts["bits of codes"].split(","))
    assert written < 0.97 * nominal
    assert main(["decode", str(coded), "-o", str(back)]) == 0
    source, decoded = soundfile.read(SPEECH)[0], soundfile.read(back)[0]
    assert decoded.shape == source.shape


@pytest.mark.parametrize(("name", "sample", "least"), [("speech", SPEECH, 1.8), ("image", PICTURE, 26.0)])
def test_more_levels_are_better(name: str, sample: Path, least: float) -> None:
    """By PESQ-WB, and by PSNR in dB; ``least``: at all levels."""
    codec, metric = shipped(name), PSNR() if name == "image" else PESQWideband()
    signal, _ = codec.medium.read(sample)
    figures = []
    for levels in (codec.quantizer.levels[0], codec.quantizer.levels[-1]):
        decoded = codec.decode(codec.encode(signal[None], levels))[0].clamp(-1, 1)
        figures += metric(decoded, signal, codec.medium.rate).values()
    assert figures[0] < figures[1] and figures[1] > least


def test_without_a_model_a_picture_comes_back(tmp_path: Path) -> None:
    coded, back = tmp_path / "a.ncs", tmp_path / "a.png"
    for levels, most in (("1", 0.3), ("5", 1.0)):
        assert main(["encode", str(PICTURE), "-o", str(coded), "--levels", levels, "--overwrite"]) == 0
        assert main(["decode", str(coded), "-o", str(back), "--overwrite"]) == 0
        with Pillow.open(PICTURE) as source, Pillow.open(back) as decoded:
            assert decoded.size == source.size and decoded.mode == source.mode
            assert 8 * coded.stat().st_size / (source.width * source.height) < most


def test_speech_streams_exactly() -> None:
    codec = shipped("speech")
    signal, _ = codec.medium.read(SPEECH)
    signal = signal[None, :, :24_123]
    whole = codec.encode(signal)
    decoded = codec.decode(whole)
    pieces = streamed_codes(codec, list(signal.split(1_777, dim=-1)))
    assert_equal_codes(pieces, whole)
    output = streamed_signal(codec, pieces)
    assert output.shape == decoded.shape and (output - decoded).abs().max() <= 1e-5
    # 20 ms of 16 kHz is what it waits for, and no more than another such frame on the way back
    assert codec.latency.encoder <= 320 and codec.latency.decoder <= 320
