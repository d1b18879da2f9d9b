"""Tokens of codecs that cut sound into pieces of a loudness each (EnCodec 48 kHz): scales among the codes."""

import random

import pytest
import torch
import yaml
from conftest import ROOT, SAMPLES
from narrowing import narrow
from test_codec_tokenizer import llama, text
from torch import Tensor

from neuralcodecs import Codec, CodecError
from neuralcodecs.lm import CodecTokenizer, Pattern, ready
from neuralcodecs.lm.scales import SCALE_LEVELS, scale_levels, scales_of
from neuralcodecs.pieces import scale_of, scale_stream
from neuralcodecs.pretrained import build, fingerprint

LEVELS = 2
PATTERNS = {"flat": ready.flat(), "delay": ready.delay(), "parallel": ready.parallel(), "coarse": ready.coarse_first(2)}
EVERY = pytest.mark.parametrize("pattern", [pytest.param(p, id=n) for n, p in PATTERNS.items()])
CONFIG = yaml.safe_load((ROOT / "configs/audio/encodec_48khz.yaml").read_text())["model"]["init_args"]["codec"]


def learned(codec: Codec) -> Codec:
    """With codebooks that have seen sound: fresh ones give every frame one code."""
    for _ in range(3):
        codec.train()(music(codec, 0, 48000)[None])
        codec.quantizer.update()
    return codec.eval()


@pytest.fixture(scope="module")
def codec() -> Codec:
    """Narrow, its pieces of 30 frames."""
    torch.manual_seed(1)
    small = narrow(CONFIG, {"filters": 4, "dim": 16, "codebook_size": 16})
    small["init_args"]["segmenter"]["init_args"] = {"segment": 9600, "overlap": 0.04}
    return learned(build(small, "narrow"))


def music(codec: Codec, start: int, samples: int) -> Tensor:
    path = sorted((SAMPLES / "music").glob("*.flac"))[0]
    return codec.medium.read(path)[0][:, start : start + samples]


def added(codec: Codec, pattern: Pattern | None = None, levels: int = LEVELS) -> CodecTokenizer:
    tokenizer = CodecTokenizer(codec, pattern, levels=levels)
    tokenizer.add_to(text())
    return tokenizer


def test_every_scale_is_a_fifth_of_a_decibel_from_its_level() -> None:
    scales = torch.logspace(-5, 0, 997, dtype=torch.float64).float()
    patterns = scale_stream([scales]).values.flatten()
    levels = scale_levels(patterns)
    back = scale_of(scales_of(levels).values.flatten(), torch.zeros(997, 1)).flatten()
    assert (20 * (back / scales).log10().abs()).max() <= 0.2 + 1e-4
    assert torch.equal(scale_levels(scales_of(torch.arange(SCALE_LEVELS)).values.flatten()), torch.arange(SCALE_LEVELS))
    silent, loud = scale_stream([torch.tensor([1e-8, 3.0])]).values.flatten()
    assert scale_levels(torch.stack([silent, loud])).tolist() == [0, SCALE_LEVELS - 1]


@EVERY
@pytest.mark.parametrize("samples", [1, 9216, 9217, 9600, 9700, 20000])
def test_sound_to_ids_and_back(codec: Codec, pattern: Pattern, samples: int) -> None:
    """Lengths at which a piece begins inside the one before, and where both end."""
    tokenizer, signal = added(codec, pattern), music(codec, 20000, samples)
    codes = codec.encode(signal[None], LEVELS)
    pieces = len(codec.pieces((samples,)))
    ids = tokenizer.encode(signal)
    assert len(ids) == tokenizer.count((samples,)) == codes["codes"].numel() + pieces + 2
    back = tokenizer.to_grid([4, *ids, 3], strict=True)
    assert torch.equal(back["codes"], codes["codes"])
    assert torch.equal(scale_levels(back["scale"]), scale_levels(codes["scale"]))
    # each piece as loud as it was to 0.2 dB, which is 2.4 % of it
    exact, decoded = codec.decode(codes)[0], tokenizer.decode(ids)[:, :samples]
    assert (decoded - exact).square().mean().sqrt() <= 0.024 * exact.square().mean().sqrt()


@EVERY
def test_any_truncation_is_repaired_or_refused(codec: Codec, pattern: Pattern) -> None:
    tokenizer = added(codec, pattern)
    ids = tokenizer.encode(music(codec, 20000, 11000))
    codes, whole = tokenizer.to_grid(ids), []
    for stop in range(len(ids)):
        try:
            found = tokenizer.to_grid(ids[:stop])
        except CodecError as error:
            assert "\n" not in str(error)
            continue
        frames, pieces = found["codes"].shape[-1], found["scale"].shape[-1]
        assert torch.equal(found["codes"], codes["codes"][..., :frames])
        assert torch.equal(found["scale"], codes["scale"][..., :pieces])
        assert frames in whole or tokenizer.decode_codes(found).isfinite().all()
        whole.append(frames)
        with pytest.raises(CodecError):
            tokenizer.to_grid(ids[:stop], strict=True)
    assert whole == sorted(whole)
    # no signal is 30 frames of one piece: at sample 9217 another one begins, before the first piece is full
    if pattern is not PATTERNS["coarse"]:
        assert set(whole) == {*range(1, 30), *range(31, 37)}


def test_an_untrained_model_generates_legal_sound(codec: Codec) -> None:
    words, model = text(), llama()
    tokenizer = CodecTokenizer(codec, ready.delay(), levels=LEVELS)
    tokenizer.add_to(words, model)
    prompt = words(["say a word <|audio_start|>"] * 4, return_tensors="pt")
    torch.manual_seed(0)
    out = model.generate(
        input_ids=prompt.input_ids,
        do_sample=True,
        temperature=5.0,
        max_new_tokens=200,
        eos_token_id=tokenizer.vocabulary.end,
        pad_token_id=0,
        logits_processor=[tokenizer.logits_processor(most=40)],
    )
    for row in out:
        codes = tokenizer.to_grid(row[row != 0], strict=True)
        assert 1 <= codes["codes"].shape[-1] <= 40
        assert tokenizer.decode(row).isfinite().all()


def test_encodec_at_its_own_size() -> None:
    torch.manual_seed(0)
    codec = learned(build(CONFIG, "encodec_48khz"))
    tokenizer, signal = added(codec, ready.delay(), 4), music(codec, 30000, 60000)
    ids = tokenizer.encode(signal)
    assert len(ids) == 2 + 2 + 4 * (150 + 39)  # markers; scales; frames of the pieces of 48000 and 12480 samples
    decoded, exact = tokenizer.decode(ids, strict=True), codec.decode(codec.encode(signal[None], 4))[0]
    assert decoded.shape[0] == 2
    assert (decoded[:, :60000] - exact).square().mean().sqrt() <= 0.024 * exact.square().mean().sqrt()


def test_a_row_of_a_corpus_has_its_scales(codec: Codec) -> None:
    tokenizer, signal = added(codec, ready.delay()), music(codec, 20000, 20000)
    codes = codec.encode(signal[None], LEVELS)
    row = {"fingerprint": fingerprint(codec).hex(), "levels": LEVELS, "signal_shape": [20000]}
    row |= {stream.name: stream.values.flatten().tolist() for stream in codes}
    assert tokenizer.from_row(row) == tokenizer.encode(signal)
    with pytest.raises(CodecError, match="scale"):
        tokenizer.from_row({name: value for name, value in row.items() if name != "scale"})


@EVERY
def test_damaged_sequences_are_read_as_far_as_they_go(codec: Codec, pattern: Pattern) -> None:
    tokenizer, source = added(codec, pattern), random.Random(0)
    v, whole = tokenizer.vocabulary, tokenizer.encode(music(codec, 20000, 11000))
    read = 0
    for _ in range(60):
        place, new = source.randrange(1, len(whole)), source.randrange(v.offset, v.stop)
        changed = source.choice([whole[:place], [*whole[:place], new], [*whole[:place], new, *whole[place:]]])
        try:
            found = tokenizer.to_grid([*changed, *whole[place + 1 :]])
        except CodecError as error:
            assert "\n" not in str(error)
            continue
        read += 1
        again = tokenizer.to_grid(tokenizer.from_grid(found), strict=True)
        assert torch.equal(again["codes"], found["codes"]) and torch.equal(again["scale"], found["scale"])
    assert read > 30
