"""The tokenizer object in a tiny random Llama with a toy text tokenizer: ids, repair, saving, legal generation."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT, SAMPLES
from narrowing import narrow
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer, TrainingArguments

from neuralcodecs import Codec, CodecError, Codes
from neuralcodecs.lm import CodecMaterial, CodecTokenizer, Pattern, ready
from neuralcodecs.lm.probes import probe
from neuralcodecs.pretrained import build

WORDS = ["<pad>", "<unk>", "say", "draw", "a", "word", "house", "then"]
LEVELS = 3
PATTERNS = {
    "flat": ready.flat(),
    "delay": ready.delay(),
    "parallel": ready.parallel(),
    "coarse": ready.coarse_first(LEVELS),
    "stack and delay": ready.stack_and_delay(),
}
EVERY = pytest.mark.parametrize("pattern", [pytest.param(p, id=n) for n, p in PATTERNS.items()])


def small(path: str) -> Codec:
    """A shipped codec, narrow, whose codes differ from frame to frame."""
    torch.manual_seed(1)
    config = yaml.safe_load((ROOT / "configs" / path).read_text())["model"]["init_args"]["codec"]
    caps = {"filters": 4, "width": 8, "dim": 16, "codebook_size": 16, "groups": 2}
    return build(narrow(config, caps), path).eval()


@pytest.fixture(scope="module")
def speech() -> Codec:
    codec = small("audio/quickstart_speech.yaml").train()
    for _ in range(3):  # codebooks that were never used give every frame one code
        codec(wave(codec, 16000)[None])
        codec.quantizer.update()
    codes = codec.eval().encode(wave(codec, 1600)[None], LEVELS)["codes"][0]
    assert len(codes.unique(dim=1).T) > 5
    return codec


@pytest.fixture(scope="module")
def picture() -> Codec:
    return small("image/quickstart_image.yaml")


def wave(codec: Codec, samples: int) -> Tensor:
    path = sorted((SAMPLES / "speech" / "test").glob("*.flac"))[0]
    return codec.medium.read(path)[0][:, 8000 : 8000 + samples]


def photo(codec: Codec, height: int, width: int) -> Tensor:
    return codec.medium.read(SAMPLES / "image" / "test" / "kodim23.png")[0][:, 100 : 100 + height, 60 : 60 + width]


def text() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")


def llama(tie: bool = False) -> LlamaForCausalLM:
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=tie,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    return LlamaForCausalLM(config).eval()


def added(codec: Codec, pattern: Pattern | None = None, name: str = "audio") -> CodecTokenizer:
    tokenizer = CodecTokenizer(codec, pattern, name, None if name == "image" else LEVELS)
    tokenizer.add_to(text())
    return tokenizer


def same(a: Codes, b: Codes) -> bool:
    return torch.equal(a["codes"], b["codes"]) and a.stream("codes").alphabet == b.stream("codes").alphabet


@EVERY
@pytest.mark.parametrize("samples", [1, 161, 3200])
def test_speech_to_ids_and_back(speech: Codec, pattern: Pattern, samples: int) -> None:
    tokenizer, signal = added(speech, pattern), wave(speech, samples)
    codes = speech.encode(signal[None], LEVELS)
    ids = tokenizer.encode(signal)
    assert len(ids) == tokenizer.count((samples,)) == codes["codes"].numel() + 2
    assert same(tokenizer.to_grid([5, *ids, 3], strict=True), codes)
    decoded = tokenizer.decode(ids)
    assert -(-samples // 160) * 160 == decoded.shape[1]
    torch.testing.assert_close(decoded[:, :samples], speech.decode(codes)[0])


@pytest.mark.parametrize(
    "pattern", [ready.flat(), ready.wavefront(2), ready.shuffled()], ids=["flat", "wave", "random"]
)
def test_pictures_say_their_size(picture: Codec, pattern: Pattern) -> None:
    tokenizer = added(picture, pattern, "image")
    signal = photo(picture, 29, 40)
    codes = picture.encode(signal[None])
    ids = tokenizer.encode(signal)
    assert [n - tokenizer.vocabulary.offset + 1 for n in ids[1:3]] == [4, 5]
    assert same(tokenizer.to_grid(ids, strict=True), codes)
    torch.testing.assert_close(tokenizer.decode(ids)[:, :29], picture.decode(codes)[0])


@pytest.mark.parametrize("tie", [False, True])
def test_adding_keeps_the_text_and_is_idempotent(speech: Codec, picture: Codec, tie: bool) -> None:
    words, model = text(), llama(tie)
    prompt = words("say a word", return_tensors="pt").input_ids
    before = model(prompt).logits[..., : len(WORDS)]
    audio, image = CodecTokenizer(speech, levels=LEVELS), CodecTokenizer(picture, name="image")
    offsets = [audio.add_to(words, model), image.add_to(words, model)]
    size = model.get_input_embeddings().weight.shape[0]
    assert [audio.add_to(words, model), image.add_to(words, model)] == offsets
    assert model.get_input_embeddings().weight.shape[0] == size == model.lm_head.weight.shape[0]
    assert size % 64 == 0
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tie
    torch.testing.assert_close(model(prompt).logits[..., : len(WORDS)], before)
    marks = [*audio.special_tokens, *image.special_tokens]
    assert words("say <|audio_start|>").input_ids == [2, audio.vocabulary.begin]
    ids = words.convert_tokens_to_ids(marks)
    assert len(set(ids)) == 4
    assert max(ids) < offsets[0] < audio.vocabulary.stop == offsets[1] < image.vocabulary.stop <= size


def test_two_codecs_and_text_in_one_sequence(speech: Codec, picture: Codec) -> None:
    words = text()
    audio, image = CodecTokenizer(speech, ready.delay(), levels=LEVELS), CodecTokenizer(picture, name="image")
    audio.add_to(words)
    image.add_to(words)
    sound, view = wave(speech, 800), photo(picture, 16, 24)
    ids = [*words("draw a house").input_ids, *image.encode(view), 7, *audio.encode(sound)]
    assert same(audio.to_grid(ids, strict=True), speech.encode(sound[None], LEVELS))
    assert same(image.to_grid(ids, strict=True), picture.encode(view[None]))


@pytest.mark.parametrize("side", ["left", "right"])
def test_ragged_batches(speech: Codec, side: str) -> None:
    tokenizer = CodecTokenizer(speech, levels=LEVELS, padding_side=side)
    tokenizer.add_to(text())
    signals = [wave(speech, n) for n in (300, 1600, 700)]
    batch = tokenizer(signals, sampling_rate=16000)
    rows = [row[mask.bool()].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    assert rows == [tokenizer.encode(s) for s in signals]
    assert batch["input_ids"][batch["attention_mask"] == 0].unique().tolist() == [0]
    assert batch["attention_mask"][0, 0 if side == "left" else -1] == 0
    assert [d.shape for d in tokenizer.batch_decode(batch["input_ids"])] == [(1, 320), (1, 1600), (1, 800)]
    with pytest.raises(CodecError, match="8000 Hz"):
        tokenizer(signals, sampling_rate=8000)


@EVERY
def test_any_truncation_is_repaired_or_refused(speech: Codec, pattern: Pattern) -> None:
    tokenizer = added(speech, pattern)
    ids = tokenizer.encode(wave(speech, 1280))
    codes = tokenizer.to_grid(ids)["codes"]
    whole = []
    for stop in range(len(ids)):
        try:
            found = tokenizer.to_grid(ids[:stop])["codes"]
        except CodecError:
            continue
        assert torch.equal(found, codes[..., : found.shape[-1]])
        assert tokenizer.decode(ids[:stop]).shape[1] == 160 * found.shape[-1]
        whole.append(found.shape[-1])
        with pytest.raises(CodecError, match="cut off"):
            tokenizer.to_grid(ids[:stop], strict=True)
    assert whole == sorted(whole)
    if pattern in (PATTERNS["flat"], PATTERNS["delay"], PATTERNS["parallel"]):
        assert set(whole) == set(range(1, 9))
    assert torch.equal(tokenizer.to_grid(ids[:-1])["codes"], codes)


def test_illegal_ids_end_the_reading_and_strict_says_where(speech: Codec) -> None:
    tokenizer = added(speech)
    ids = tokenizer.encode(wave(speech, 1280))
    codes = tokenizer.to_grid(ids)["codes"]
    for wrong in (4, tokenizer.vocabulary.stop + 3, ids[11]):  # text, outside, another row
        broken = [*ids[:10], wrong, *ids[11:]] if wrong != ids[11] else [*ids[:10], *ids[11:]]
        assert torch.equal(tokenizer.to_grid(broken)["codes"], codes[..., :3])
        with pytest.raises(CodecError, match="position 10"):
            tokenizer.decode(broken, strict=True)
    for nothing in ([], [2, 3], ids[:2], ids[1:]):
        with pytest.raises(CodecError):
            tokenizer.decode(nothing)
    for _ in range(50):
        noise = [tokenizer.vocabulary.begin, *torch.randint(tokenizer.vocabulary.stop + 9, (40,)).tolist()]
        try:
            tokenizer.to_grid(noise)
        except CodecError as error:
            assert "\n" not in str(error)


def test_a_truncated_picture_keeps_its_whole_rows(picture: Codec) -> None:
    tokenizer = added(picture, ready.flat(), "image")
    ids = tokenizer.encode(photo(picture, 32, 24))
    codes, rows = tokenizer.to_grid(ids)["codes"], len(tokenizer.alphabet) * 3
    assert torch.equal(tokenizer.to_grid(ids[: 3 + 2 * rows + 1])["codes"], codes[:, :, :2])
    assert tokenizer.decode(ids[: 3 + 2 * rows + 1]).shape == (3, 16, 24)
    for stop in (1, 2, 3, 2 + rows):
        with pytest.raises(CodecError):
            tokenizer.decode(ids[:stop])


@EVERY
def test_saved_and_loaded(speech: Codec, pattern: Pattern, tmp_path: Path) -> None:
    tokenizer = added(speech, pattern)
    tokenizer.save_pretrained(tmp_path)
    loaded = CodecTokenizer.from_pretrained(tmp_path)
    signal = wave(speech, 900)
    assert loaded.encode(signal) == tokenizer.encode(signal)
    assert loaded.pattern.describe() == pattern.describe()


def test_the_text_tokenizer_remembers_its_blocks(speech: Codec, picture: Codec, tmp_path: Path) -> None:
    words = text()
    offset = CodecTokenizer(speech).add_to(words)
    words.save_pretrained(tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert CodecTokenizer(speech).add_to(again) == offset
    assert CodecTokenizer(picture, name="image").add_to(again) > offset
    with pytest.raises(CodecError, match="give another name"):
        CodecTokenizer(picture).add_to(again)


def damage(facts: dict[str, Any], key: str) -> dict[str, Any]:
    foreign = {"class_path": "os.system", "init_args": {"command": "true"}}
    new = {
        "pattern": {"class_path": "Pattern", "init_args": {"arrangement": foreign, "order": foreign}},
        "fingerprint": "00" * 8,
        "levels": "3",
        "ids": {"offset": -1, "begin": 1, "end": 2, "pad": 0},
        "name": None,
        "extra": 1,
    }
    return {**facts, key: new[key]}


@pytest.mark.parametrize("key", ["pattern", "fingerprint", "levels", "ids", "name", "extra"])
def test_damaged_folders_are_refused(speech: Codec, key: str, tmp_path: Path) -> None:
    added(speech).save_pretrained(tmp_path)
    path = tmp_path / "codec_tokenizer.json"
    path.write_text(json.dumps(damage(json.loads(path.read_text()), key)))
    with pytest.raises(CodecError):
        CodecTokenizer.from_pretrained(tmp_path, codec=speech)


def test_signals_as_users_have_them(speech: Codec, picture: Codec) -> None:
    tokenizer, signal = added(speech), wave(speech, 700)
    ids = tokenizer.encode(signal)
    for given in (signal[0], signal.numpy(), signal[0].numpy().astype("float64"), signal.double()):
        assert tokenizer.encode(given) == ids
    assert tokenizer([signal.numpy()[0], signal])["input_ids"].tolist() == [ids, ids]
    assert tokenizer.tokens_per_second == 100 * LEVELS
    for wrong, reason in (
        (signal.expand(2, -1), r"\(2, 700\).*\(1, samples\)"),
        (signal[None], r"\(1, 1, 700\)"),
        ((32767 * signal).short(), "int16"),
        (signal * torch.nan, "not finite"),
        (signal[:, :0], "empty"),
    ):
        with pytest.raises(CodecError, match=reason):
            tokenizer.encode(wrong)
    with pytest.raises(CodecError, match=r"\(3, height, width\)"):
        added(picture, name="image").encode(photo(picture, 16, 16)[0])
    with pytest.raises(CodecError, match="count"):
        _ = added(picture, name="image").tokens_per_second


def test_codes_that_need_side_streams_are_refused(tmp_path: Path) -> None:
    codec = small("image/small_hyperprior.yaml")
    codec.save_pretrained(tmp_path)
    for refused in (lambda: CodecTokenizer(codec), lambda: CodecMaterial(str(tmp_path)), lambda: probe(codec, [], {})):
        with pytest.raises(CodecError, match="side streams"):
            refused()


def test_no_ids_before_add_to(speech: Codec) -> None:
    with pytest.raises(CodecError, match="add_to"):
        CodecTokenizer(speech).encode(wave(speech, 400))


@EVERY
@torch.no_grad()
def test_an_untrained_model_generates_legal_speech_and_pictures(
    speech: Codec, picture: Codec, pattern: Pattern
) -> None:
    words, model = text(), llama()
    audio = CodecTokenizer(speech, pattern, levels=LEVELS)
    image = CodecTokenizer(picture, ready.wavefront(1), "image")
    audio.add_to(words, model)
    image.add_to(words, model)
    words.padding_side = "left"
    prompt = words(["say a word <|audio_start|>", "house <|image_start|>"], return_tensors="pt", padding=True)
    out = model.generate(
        input_ids=prompt.input_ids,
        attention_mask=prompt.attention_mask,
        do_sample=True,
        temperature=5.0,
        max_new_tokens=60,
        eos_token_id=[audio.vocabulary.end, image.vocabulary.end],
        pad_token_id=0,
        logits_processor=[audio.logits_processor(most=12), image.logits_processor(size=(2, 2))],
    )
    codes = audio.to_grid(out[0].tolist(), strict=True)
    assert 1 <= codes["codes"].shape[-1] <= 12
    assert image.decode(out[1].tolist(), strict=True).shape == (3, 16, 16)


def test_a_trained_model_speaks_its_clip(speech: Codec, tmp_path: Path) -> None:
    words, model = text(), llama()
    audio = CodecTokenizer(speech, ready.delay(), levels=LEVELS)
    audio.add_to(words, model)
    signal = wave(speech, 1600)
    prompt = words("say a word").input_ids
    row = torch.tensor(prompt + audio.encode(signal))
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=60,
        learning_rate=5e-3,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    Trainer(model, arguments, train_dataset=[{"input_ids": row, "labels": row}] * 8).train()
    model.eval()
    audio.save_pretrained(tmp_path / "audio")
    loaded = CodecTokenizer.from_pretrained(tmp_path / "audio")
    for tokenizer, beams in ((audio, 1), (audio, 3), (loaded, 1)):
        out = model.generate(
            torch.tensor([[*prompt, tokenizer.vocabulary.begin]]),
            do_sample=False,
            num_beams=beams,
            max_new_tokens=tokenizer.count((1600,)),
            eos_token_id=tokenizer.vocabulary.end,
            pad_token_id=0,
            logits_processor=[tokenizer.logits_processor()],
        )
        assert out[0].tolist() == row.tolist()
    torch.testing.assert_close(audio.decode(out[0], strict=True), speech.decode(speech.encode(signal[None], LEVELS))[0])
