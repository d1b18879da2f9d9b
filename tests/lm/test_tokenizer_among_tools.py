"""A tokenizer among other tools: text, a trainer's batches, the hub, and a fresh process."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from conftest import ROOT
from test_codec_tokenizer import added, llama, photo, same, small, text, wave

from neuralcodecs import CodecError
from neuralcodecs.lm import CodecTokenizer


def test_ids_have_names_that_lead_back() -> None:
    speech, picture = small("audio/quickstart_speech.yaml"), small("image/quickstart_image.yaml")
    audio, image = added(speech), added(picture, name="image")
    ids = audio.encode(wave(speech, 800))
    named = audio.to_text(ids)
    assert named.startswith("<|audio_start|><|audio_0_") and named.endswith("|><|audio_end|>")
    assert audio.from_text(named) == ids
    drawn = image.encode(photo(picture, 29, 40))
    assert image.to_text(drawn).startswith("<|image_start|><|image_size_4|><|image_size_5|><|image_0_")
    assert image.from_text(image.to_text(drawn)) == drawn
    first = audio.vocabulary.offset
    assert audio.to_text([first, audio.vocabulary.stop - 1]) == "<|audio_0_0|><|audio_2_15|>"
    for wrong in ("<|audio_3_0|>", "<|audio_0_16|>", "hello", "<|image_0_0|>", "<|audio_size_1|>", "<|audio_0_1|> "):
        with pytest.raises(CodecError, match="is no token"):
            audio.from_text(f"<|audio_start|>{wrong}")
    for wrong_id in (2, audio.vocabulary.stop):
        with pytest.raises(CodecError, match="position 1"):
            audio.to_text([first, wrong_id])


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_has_the_loss_of_its_rows(side: str) -> None:
    codec = small("audio/quickstart_speech.yaml")
    tokenizer, model, words = CodecTokenizer(codec, levels=3, padding_side=side), llama(), text()
    tokenizer.add_to(words, model)
    rows = [{"input_ids": [2, 4, *tokenizer.encode(wave(codec, n))]} for n in (800, 1600)]
    for spans_only in (False, True):
        collate = tokenizer.collator(spans_only)
        batch = collate(rows)
        assert batch["attention_mask"].sum(1).tolist() == [len(row["input_ids"]) for row in rows]
        weights = [int((collate([row])["labels"][:, 1:] != -100).sum()) for row in rows]
        if spans_only:
            assert weights == [len(row["input_ids"]) - 3 for row in rows]  # all but two words and the begin marker
        with torch.no_grad():
            alone = sum(float(model(**collate([row])).loss) * w for row, w in zip(rows, weights, strict=True))
            together = float(model(**batch, position_ids=batch["attention_mask"].cumsum(1).sub(1).clamp(min=0)).loss)
        assert together == pytest.approx(alone / sum(weights), rel=1e-4)


def test_pushed_is_what_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Api:
        def __init__(self, token: str | None = None) -> None: ...

        def create_repo(self, repo_id: str, private: bool | None, exist_ok: bool) -> object:
            return type("Repo", (), {"repo_id": repo_id})

        def upload_folder(self, repo_id: str, folder_path: str, commit_message: str) -> str:
            shutil.copytree(folder_path, tmp_path / repo_id)
            return f"https://hub/{repo_id}"

    def snapshot_download(repo_id: str, allow_patterns: list[str], **rest: object) -> str:
        assert set(allow_patterns) == {"codec_tokenizer.json", "codec/*"}
        return str(tmp_path / repo_id)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    codec = small("audio/quickstart_speech.yaml")
    tokenizer = added(codec)
    assert tokenizer.push_to_hub("someone/voice") == "https://hub/someone/voice"
    fetched, ids = CodecTokenizer.from_pretrained("someone/voice"), tokenizer.encode(wave(codec, 800))
    assert fetched.vocabulary == tokenizer.vocabulary and same(fetched.to_grid(ids), tokenizer.to_grid(ids))


FRESH = """
import json, sys, torch
from transformers import AutoTokenizer, LlamaForCausalLM
from neuralcodecs.lm import CodecTokenizer
folder = sys.argv[1]
words, model = AutoTokenizer.from_pretrained(folder), LlamaForCausalLM.from_pretrained(folder)
audio = CodecTokenizer.from_pretrained(folder + "/audio")
audio.add_to(words, model)
torch.manual_seed(4)
prompt = words("say a <|audio_start|>", return_tensors="pt").input_ids
out = model.generate(prompt, do_sample=True, max_new_tokens=audio.count((1600,)), pad_token_id=0,
    eos_token_id=audio.vocabulary.end, logits_processor=[audio.logits_processor(size=(10,))])
print(json.dumps([out[0].tolist(), audio.decode(out[0], strict=True).shape[1]]))
"""


def test_a_fresh_process_generates_the_same(tmp_path: Path) -> None:
    codec, words, model = small("audio/quickstart_speech.yaml"), text(), llama()
    audio = CodecTokenizer(codec, levels=3)
    audio.add_to(words, model)
    for part, folder in ((words, tmp_path), (model, tmp_path), (audio, tmp_path / "audio")):
        part.save_pretrained(folder)
    torch.manual_seed(4)
    prompt = words("say a <|audio_start|>", return_tensors="pt").input_ids
    out = model.generate(
        prompt,
        do_sample=True,
        max_new_tokens=audio.count((1600,)),
        pad_token_id=0,
        eos_token_id=audio.vocabulary.end,
        logits_processor=[audio.logits_processor(size=(10,))],
    )
    command = [sys.executable, "-c", FRESH, str(tmp_path)]
    there = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT / "codecs")
    assert json.loads(there.stdout) == [out[0].tolist(), 1600]
