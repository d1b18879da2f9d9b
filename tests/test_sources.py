"""Folders and manifests: what is found, in which order, with which weight, and what is refused."""

from pathlib import Path

import pytest
from conftest import SAMPLES

from neuralcodecs.atomic import MARK
from neuralcodecs.errors import CodecError
from neuralcodecs.sources import Source, entries

WAV = (".wav", ".flac")


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_is_searched_recursively_in_a_fixed_order(tmp_path: Path) -> None:
    _touch(tmp_path, "b/z.wav", "a.WAV", "b/a.flac", "b/notes.txt", ".hidden.wav", f"x{MARK}1-2.wav")
    found = entries([str(tmp_path)], WAV)
    assert [e.path.relative_to(tmp_path).as_posix() for e in found] == ["a.WAV", "b/a.flac", "b/z.wav"]
    assert {(e.weight, e.kind) for e in found} == {(1.0, "")}


def test_the_manifest_of_the_samples() -> None:
    manifest = str(SAMPLES / "manifest.csv")
    train = entries([Source(manifest, split="train", weight=2.0)], WAV)
    assert {e.kind for e in train} == {"speech", "music"} and {e.weight for e in train} == {2.0}
    assert all(e.path.is_file() for e in train)
    folder = entries([str(SAMPLES / "speech" / "train")], WAV)
    assert {e.path for e in folder} == {e.path for e in train if e.kind == "speech"}


def test_weights_multiply_and_a_manifest_may_be_text(tmp_path: Path) -> None:
    _touch(tmp_path, "a.wav", "b.wav", "c.wav")
    (tmp_path / "list.csv").write_text("path,weight,kind\na.wav,0.5,music\nb.wav,,\nc.wav,0,\n")
    (tmp_path / "list.txt").write_text("c.wav\n\nb.wav\n")
    found = entries([Source(str(tmp_path / "list.csv"), weight=4.0, kind="speech"), str(tmp_path / "list.txt")], WAV)
    assert [(e.path.name, e.weight, e.kind) for e in found] == [
        ("a.wav", 2.0, "music"),
        ("b.wav", 4.0, "speech"),
        ("c.wav", 1.0, ""),
        ("b.wav", 1.0, ""),
    ]


def test_a_single_file(tmp_path: Path) -> None:
    _touch(tmp_path, "a.wav")
    assert [e.path for e in entries([str(tmp_path / "a.wav")], WAV)] == [tmp_path / "a.wav"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Source("absent"), "absent: no such folder"),
        (Source("empty"), "empty: holds no .wav"),
        (Source("full", split="train"), "full: split 'train' needs a manifest"),
        (Source("list.csv", split="val"), "of split 'val'"),
        (Source("plain.csv", split="val"), "plain.csv: a manifest needs a column 'path', and 'split'"),
        (Source("nopath.csv"), "nopath.csv: a manifest needs a column 'path'"),
        (Source("full", weight=-1.0), "weight -1.0"),
        (Source("full", weight=float("nan")), "weight nan"),
        (Source("full", weight=0.0), "weight above 0"),
        (Source("word.csv"), "weight 'heavy' is not a number"),
    ],
)
def test_what_is_wrong_is_named(source: Source, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _touch(tmp_path, "full/a.wav", "empty/a.txt")
    (tmp_path / "list.csv").write_text("path,split\nfull/a.wav,train\n")
    (tmp_path / "plain.csv").write_text("path\nfull/a.wav\n")
    (tmp_path / "nopath.csv").write_text("name\nfull/a.wav\n")
    (tmp_path / "word.csv").write_text("path,weight\nfull/a.wav,heavy\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CodecError, match=said):
        entries([source], WAV)


def test_no_source_at_all() -> None:
    with pytest.raises(CodecError, match="no data"):
        entries([], WAV)
