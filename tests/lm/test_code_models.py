"""Language models of codes: probabilities that sum to one, no look ahead, cached generation, learning, saving."""

import math
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, SAMPLES
from test_codec_tokenizer import small
from torch import Tensor

from neuralcodecs import CodecError
from neuralcodecs.cli import main
from neuralcodecs.lm import (
    Bytes,
    CodecMaterial,
    CodeModel,
    Language,
    Network,
    PatchModel,
    PatternModel,
    Sampling,
    ready,
)
from neuralcodecs.lm.language import KEY, facts, load_language
from neuralcodecs.lm.score import score
from neuralcodecs.medium import SignalInfo
from neuralcodecs.training.run import main as train

ALPHABET = (3, 4)
AUDIO = {
    "flat": ready.flat(),
    "delay": ready.delay(),
    "parallel": ready.parallel(),
    "coarse first": ready.coarse_first(2),
    "partly flat": ready.partially_flat(2),
    "stack": ready.stack(),
    "stack and delay": ready.stack_and_delay(),
}
PICTURES = {
    "raster": ready.flat(),
    "wavefront": ready.wavefront(2),
    "masked": ready.masked(3),
    "shuffled": ready.shuffled(),
}
TINY = Network(16, 2, 2)
MADE = ("alphabet", "axes")


def sharp(model: CodeModel) -> CodeModel:
    """Random weights so large that every input matters."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(20 if parameter.abs().max() < 0.2 else 2)
    return model.eval()


def models() -> list[tuple[str, CodeModel, tuple[int, ...]]]:
    torch.manual_seed(3)
    audio = [(name, PatternModel(ALPHABET, 1, p, TINY), (3,)) for name, p in AUDIO.items()]
    pictures = [(name, PatternModel((3,), 2, p, TINY), (2, 3)) for name, p in PICTURES.items()]
    patches = [
        ("frames and levels", PatchModel(ALPHABET, 1, TINY, TINY), (3,)),
        ("patches of 2", PatchModel((3,), 1, TINY, TINY, positions=2), (5,)),
        ("patches of pictures", PatchModel((3,), 2, TINY, TINY, positions=4), (2, 3)),
    ]
    return [(name, sharp(model), grid) for name, model, grid in (*audio, *pictures, *patches)]


EVERY = pytest.mark.parametrize("model, grid", [pytest.param(m, g, id=n) for n, m, g in models()])


@EVERY
def test_probabilities_of_all_items_sum_to_one(model: CodeModel, grid: tuple[int, ...]) -> None:
    """True only when no code reaches its own prediction, or that of one decoded with or before it."""
    choices = [range(size) for size in model.alphabet for _ in range(math.prod(grid))]
    every = torch.tensor(list(product(*choices))).view(-1, len(model.alphabet), *grid)
    with torch.no_grad():
        likelihood = -torch.cat([model(part).double().flatten(1).sum(1) for part in every.split(512)])
    assert likelihood.std() > 0.3
    assert float(likelihood.exp().sum()) == pytest.approx(1, abs=1e-4)


@EVERY
def test_generation_with_a_cache_follows_the_probabilities(model: CodeModel, grid: tuple[int, ...]) -> None:
    """Codes chosen one step after the other with a cache are the most likely ones to a single pass over all of them."""
    codes = model.sample(grid, Sampling(temperature=0.0))
    assert codes.shape == (1, len(model.alphabet), *grid)
    with torch.no_grad():
        chosen = model(codes)
        for row, size in enumerate(model.alphabet):
            for number in range(math.prod(grid)):
                for code in range(size):
                    other = codes.clone().flatten(2)
                    other[0, row, number] = code
                    nats = model(other.view(codes.shape)).flatten(2)[0, row, number]
                    assert nats >= chosen.flatten(2)[0, row, number] - 1e-4


@EVERY
def test_samples_are_legal_repeatable_and_begin_with_the_prompt(model: CodeModel, grid: tuple[int, ...]) -> None:
    first, again = (model.sample(grid, Sampling(seed=5), count=3) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, model.sample(grid, Sampling(seed=6), count=3))
    for row, size in enumerate(model.alphabet):
        assert first[:, row].min() >= 0 and first[:, row].max() < size
    prompt = first[1][:, :1]
    longer = model.sample(grid, Sampling(seed=7), count=2, prompt=prompt)
    assert torch.equal(longer[:, :, :1], prompt.expand(2, *prompt.shape))
    with pytest.raises(CodecError, match="does not begin"):
        model.sample(grid, Sampling(), prompt=torch.zeros(len(model.alphabet), 99, *grid[1:], dtype=torch.int64))


def test_steps_are_those_of_the_pattern() -> None:
    levels = (4,) * 4
    assert PatternModel(levels, 1, ready.delay(), TINY).steps((8,)) == 11
    assert PatternModel(levels, 1, ready.flat(), TINY).steps((8,)) == 32
    assert PatternModel((4,), 2, ready.wavefront(2), TINY).steps((8, 8)) == 8 + 7 * 2
    assert PatchModel(levels, 1, TINY, TINY).steps((8,)) == 8 * 5


@pytest.mark.parametrize("temperature, top_k, top_p", [(1.0, 2, 1.0), (1.0, 0, 0.75), (0.5, 0, 1.0)])
def test_sampling_draws_what_it_says(temperature: float, top_k: int, top_p: float) -> None:
    probabilities = torch.tensor([0.1, 0.5, 0.15, 0.25])
    sampling = Sampling(temperature, top_k, top_p, seed=1)
    drawn = sampling.draw(probabilities.log().expand(1, 20000, 4), sampling.generator(torch.device("cpu")))
    expected = probabilities ** (1 / temperature)
    if top_k or top_p < 1:
        expected[[0, 2]] = 0  # the two most likely codes have 0.75 together
    share = torch.bincount(drawn.flatten(), minlength=4) / 20000
    torch.testing.assert_close(share, expected / expected.sum(), atol=0.015, rtol=0)


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_sampling_refuses(wrong: dict[str, float]) -> None:
    with pytest.raises(CodecError, match="temperature"):
        Sampling(**wrong)


@pytest.mark.parametrize("kind", ["pattern", "patch"])
def test_bytes_of_a_wav_file_are_learned_below_their_entropy(kind: str, tmp_path: Path) -> None:
    import soundfile

    sound = soundfile.read(next((SAMPLES / "speech" / "train").glob("*.flac")), dtype="int16")[0][20000:36000]
    soundfile.write(tmp_path / "short.wav", sound, 16000, "PCM_16")
    material = Bytes([".wav"])
    codes = material.read(tmp_path / "short.wav")
    network = Network(48, 2, 4)
    made = {
        "pattern": lambda a, axes: PatternModel(a, axes, ready.flat(), network),
        "patch": lambda a, axes: PatchModel(a, axes, network, network, positions=4),
    }
    torch.manual_seed(0)
    language = Language(material, made[kind], [128])
    optimizer = torch.optim.AdamW(language.parameters(), 0.003)
    source = np.random.default_rng(0)
    half = codes.shape[1] // 2 // 128 * 128
    for _ in range(100):
        starts = [2 * int(source.integers((half - 128) // 2)) for _ in range(4)]
        loss = language(torch.stack([codes[:, s : s + 128] for s in starts])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    held_out = codes[0, half:]
    (tmp_path / "rest.wav").write_bytes(bytes(held_out.tolist()))
    figures = score(language, [tmp_path / "rest.wav"])
    shares = torch.bincount(held_out, minlength=256).double() / len(held_out)
    entropy = -(shares * shares.clamp(min=1e-12).log2()).sum()
    assert figures["nominal_bits_per_byte"] == 8
    assert figures["bits_per_byte"] < entropy


def test_codes_are_computed_once_for_a_file_and_a_codec(tmp_path: Path) -> None:
    codec = small("audio/quickstart_speech.yaml")
    codec.save_pretrained(tmp_path / "codec")
    path = next((SAMPLES / "speech" / "val").glob("*.flac"))
    cache = str(tmp_path / "cache")
    material = CodecMaterial(str(tmp_path / "codec"), 2, cache)
    codes = material.read(path)
    assert torch.equal(codes, codec.encode(codec.medium.read(path)[0][None], 2)["codes"][0])
    (kept,) = (tmp_path / "cache").rglob("*.npy")
    np.save(kept, np.zeros_like(np.load(kept)))
    assert not material.read(path).any()  # of the disk
    assert torch.equal(CodecMaterial(str(tmp_path / "codec"), 3, cache).read(path)[:2], codes)
    moved = tmp_path / "moved.flac"
    moved.write_bytes(path.read_bytes())
    assert not material.read(moved).any()


def test_a_config_is_a_codec_with_random_weights_and_a_scaler_is_refused() -> None:
    config = str(ROOT / "configs" / "audio" / "quickstart_speech.yaml")
    assert CodecMaterial(config).identity == CodecMaterial(config).identity
    with pytest.raises(CodecError, match="scaler"):
        CodecMaterial(str(ROOT / "configs" / "audio" / "encodec_48khz.yaml"))
    with pytest.raises(CodecError, match="no config"):
        CodecMaterial("missing.yaml")


def trained(folder: Path) -> Path:
    """A run of three steps."""
    small("audio/quickstart_speech.yaml").save_pretrained(folder / "codec")
    text = (ROOT / "configs" / "lm" / "speech_delay.yaml").read_text()
    text = text.replace("{model: runs/quickstart_speech}", f"{{model: {folder}/codec, cache: {folder}/cache}}")
    text = text.replace("width: 256", "width: 16").replace("samples/", f"{ROOT}/samples/")
    (folder / "lm.yaml").write_text(text)
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu"]
    common = ["fit", "--config", str(folder / "lm.yaml"), "--run", str(folder / "run"), *quiet]
    straight = ["--trainer.max_steps=3", "--trainer.val_check_interval=3"]
    train([*common, *straight, "--run", str(folder / "straight")])
    train([*common, "--trainer.max_steps=2", "--trainer.val_check_interval=2"])
    train([*common, *straight, "--resume", "true"])
    return folder / "run"


@pytest.mark.slow  # 43 s: two training processes and a third that generates
def test_a_resumed_run_is_the_same_and_generates_the_same_in_a_fresh_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(tmp_path)
    assert sorted(p.name for p in (run / "checkpoints").glob("*.ckpt")) == ["step=2.ckpt", "step=3.ckpt"]
    states = [
        torch.load(r / "checkpoints" / "step=3.ckpt", weights_only=True)["state_dict"]
        for r in (run, tmp_path / "straight")
    ]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        if name.startswith("language."):
            assert torch.equal(tensor, states[1][name]), name
    begun = ["fit", "--config", str(tmp_path / "lm.yaml"), "--run", str(tmp_path / "begun"), "--init", str(run)]
    still = ["--trainer.accelerator=cpu", "--trainer.max_steps=1"]
    train([*begun, *still, "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"])
    moved = torch.load(tmp_path / "begun" / "checkpoints" / "step=1.ckpt", weights_only=True)["state_dict"]
    for name, tensor in states[0].items():
        if name.startswith("language."):
            torch.testing.assert_close(moved[name], tensor, atol=1e-4, rtol=0)  # one step of Adam at the first rate
    medium, prompt = small("audio/quickstart_speech.yaml").medium, tmp_path / "prompt.wav"
    signal, _ = medium.read(next((SAMPLES / "speech" / "val").glob("*.flac")))
    medium.write(prompt, signal[:, 16000:24000], SignalInfo(16000, 1, (8000,)))
    arguments = ["generate", str(run), "--seconds", "1", "--prompt", str(prompt), "--top-k", "8", "--out"]
    assert main([*arguments, str(tmp_path / "here.wav")]) == 0
    there = [sys.executable, "-m", "neuralcodecs.cli", *arguments, str(tmp_path / "there.wav")]
    subprocess.run(there, check=True, cwd=ROOT / "codecs")
    assert (tmp_path / "here.wav").read_bytes() == (tmp_path / "there.wav").read_bytes()
    refused = {
        "exists": [*arguments, str(tmp_path / "here.wav")],
        "end in": [*arguments, str(tmp_path / "x.png")],
    }
    for message, command in refused.items():
        assert main(command) == 2
        assert message in capsys.readouterr().err
    assert main(["generate", str(run), "--size", "8", "8", "--out", str(tmp_path / "y.wav")]) == 2
    other = small("audio/quickstart_speech.yaml")
    with torch.no_grad():
        for parameter in other.encoder.parameters():
            parameter.add_(0.1)
    other.save_pretrained(tmp_path / "codec")
    assert main([*arguments, str(tmp_path / "z.wav")]) == 2
    assert "put that codec back" in capsys.readouterr().err
    assert not (tmp_path / "z.wav").exists() and not (tmp_path / "y.wav").exists()


def test_a_checkpoint_cannot_name_foreign_classes_or_be_damaged(tmp_path: Path) -> None:
    material, network = Bytes([".wav"]), Network(16, 1, 2)
    language = Language(material, lambda a, n: PatternModel(a, n, ready.delay(), network), [4])
    weights = {f"language.{name}": tensor for name, tensor in language.state_dict().items()}
    path = tmp_path / "lm.ckpt"

    def saved(**changed: object) -> Path:
        torch.save({KEY: facts(language) | changed, "state_dict": weights}, path)
        return path

    loaded = load_language(saved())
    codes = torch.randint(256, (1, 1, 9))
    assert torch.equal(loaded(codes), language.eval()(codes))
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    node = facts(language)["init_args"]
    for class_path in ("evil.Bytes", "subprocess.Popen"):
        with pytest.raises(CodecError, match="was refused"):
            load_language(saved(init_args={**node, "material": {"class_path": class_path, "init_args": {}}}))
    with pytest.raises(CodecError, match="do not fit"):
        load_language(saved(init_args={**node, "model": PatternModel((256,), 1, ready.delay(), TINY).describe(MADE)}))
    with pytest.raises(CodecError, match="put that codec back"):
        load_language(saved(identity="other"))
    path.write_bytes(saved().read_bytes()[:2000])
    with pytest.raises(CodecError, match="no checkpoint of a language model"):
        load_language(path)


def test_a_run_of_a_codec_is_no_language_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small("audio/quickstart_speech.yaml").save_pretrained(tmp_path)
    assert main(["generate", str(tmp_path), "--seconds", "1", "--out", str(tmp_path / "x.wav")]) == 2
    assert "no run of a language model" in capsys.readouterr().err


def windows_of(codes: Tensor) -> list[Tensor]:
    return list(Language(Bytes([".x"]), lambda a, n: PatternModel(a, n, ready.flat(), TINY), [4])._windows(codes))


def test_windows_cover_a_file_once() -> None:
    codes = torch.arange(11)[None]
    assert torch.equal(torch.cat(windows_of(codes), dim=1), codes)
    assert [w.shape[1] for w in windows_of(codes)] == [4, 4, 3]
