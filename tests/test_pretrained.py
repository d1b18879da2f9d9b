"""Saved codecs: what is loaded is what was saved, and nothing in a file is ever run."""

import os
import pickle
import sys
from pathlib import Path

import pytest
import torch
import yaml
from examples import make_codec
from safetensors.torch import load_file, save_file

from neuralcodecs import Codec, CodecError
from neuralcodecs.pretrained import fingerprint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_codec(segmented=True).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_saved_and_loaded_it_is_the_same(folder: Path) -> None:
    codec, loaded = make_codec(segmented=True), Codec.from_pretrained(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.yaml", "model.safetensors"]
    assert fingerprint(loaded) == fingerprint(codec) and not loaded.training
    signal = 0.1 * torch.randn(1, 1, 9000)
    assert torch.equal(loaded.decode(loaded.encode(signal)), codec.decode(codec.encode(signal)))


def attack(folder: Path, class_path: str, **arguments: object) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["init_args"]["encoder"] = {"class_path": class_path, "init_args": arguments}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_foreign_classes_are_refused_before_they_are_imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, marker = folder.parent / "foreign_part.py", folder.parent / "imported"
    code = f"open({str(marker)!r}, 'w')\nfrom neuralcodecs import Encoder\nclass Mine(Encoder): pass\n"
    module.write_text(code)
    monkeypatch.syspath_prepend(str(folder.parent))
    for path in (
        "foreign_part.Mine",
        "foreign_part.make",
        "os.system",
        "subprocess.Popen",
        "torch.load",
        "posix.system",
    ):
        attack(folder, path, args=f"touch {marker}")
        with pytest.raises(CodecError, match="refused"):
            Codec.from_pretrained(folder)
    assert not marker.exists() and "foreign_part" not in sys.modules
    attack(folder, "foreign_part.Mine")
    with pytest.raises(CodecError):
        Codec.from_pretrained(folder, trust=True)  # trusted, it is imported; this one has no methods
    assert marker.exists()


def test_python_tags_and_pickles_are_refused(folder: Path) -> None:
    marker = folder.parent / "run"
    (folder / "config.yaml").write_text(f"!!python/object/apply:os.system ['touch {marker}']\n")
    with pytest.raises(CodecError, match="is not YAML"):
        Codec.from_pretrained(folder)

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {marker}",)

    path = folder.parent / "evil.ckpt"
    torch.save({"state_dict": {}, "codec": Payload()}, path)
    for content in (path.read_bytes(), pickle.dumps(Payload()), b"", b"PK\3\4" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(CodecError, match=r"evil\.ckpt is not a readable checkpoint"):
            Codec.from_pretrained(path)
    assert not marker.exists()


def test_weights_must_fit_and_be_finite(folder: Path) -> None:
    weights = folder / "model.safetensors"
    good = load_file(weights)
    name = next(n for n, v in good.items() if v.is_floating_point())
    for change, message in [
        ({name: torch.zeros(3, 3)}, "its config makes"),
        ({name: torch.full_like(good[name], float("nan"))}, "not finite"),
        ({"extra": torch.zeros(1)}, "unknown"),
    ]:
        save_file(good | change, weights)
        with pytest.raises(CodecError, match=message):
            Codec.from_pretrained(folder)
    save_file({k: v for k, v in good.items() if k != name}, weights)
    with pytest.raises(CodecError, match="missing"):
        Codec.from_pretrained(folder)
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(CodecError, match="cannot be read"):
        Codec.from_pretrained(folder)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"no model at .*nothing\.ckpt"):
        Codec.from_pretrained(tmp_path / "nothing.ckpt")
    with pytest.raises(CodecError, match="neither"):
        Codec.from_pretrained(tmp_path)


def test_the_fingerprint_is_of_encoder_and_quantizer() -> None:
    codec, other = make_codec(), make_codec(1)
    assert fingerprint(codec) == fingerprint(make_codec()) != fingerprint(other)
    assert fingerprint(codec) != fingerprint(make_codec(rate=8000))
    codec.decoder = other.decoder
    assert fingerprint(codec) == fingerprint(make_codec())
    codec.quantizer.load_codebooks(codec.quantizer.codebooks + 1e-6)
    assert fingerprint(codec) != fingerprint(make_codec())


def test_the_hub_by_its_own_client(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stand-in for the hub's client: what is pushed is what is fetched."""
    import shutil

    import huggingface_hub

    hub = tmp_path / "hub"

    class Api:
        def __init__(self, token: str | None = None) -> None:
            assert token == "secret"

        def create_repo(self, repo_id: str, private: bool | None, exist_ok: bool) -> object:
            assert private and exist_ok
            return type("Repo", (), {"repo_id": f"someone/{repo_id}"})

        def upload_folder(self, repo_id: str, folder_path: str, commit_message: str) -> str:
            shutil.copytree(folder_path, hub / repo_id)
            return f"https://hub/{repo_id}/{commit_message}"

    def snapshot_download(repo_id: str, revision: str, token: str, allow_patterns: list[str]) -> str:
        assert revision == "v1" and {"config.yaml", "model.safetensors"} <= set(allow_patterns)
        return str(hub / repo_id)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    codec = Codec.from_pretrained(folder)
    assert codec.push_to_hub("mine", private=True, token="secret", message="m") == "https://hub/someone/mine/m"
    assert (hub / "someone" / "mine" / "README.md").read_text().startswith("---\nlibrary_name: neuralcodecs\n")
    assert fingerprint(Codec.from_pretrained("someone/mine", revision="v1")) == fingerprint(codec)


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*arguments: object, **named: object) -> str:
        raise OSError("no route\nto the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(CodecError, match=r"no folder someone/else here.*no route$"):
        Codec.from_pretrained("someone/else")
