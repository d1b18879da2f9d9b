"""Folders, several inputs, pipes and batches, as a user types them."""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from examples import clip, make_codec

from neuralcodecs.cli import main


@pytest.fixture
def model(tmp_path: Path) -> str:
    make_codec().save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    for name in ("", "b", "b/c"):
        (folder / name).mkdir(exist_ok=True, parents=True)
    clip(folder, 4000, "one.wav")
    clip(folder / "b", 4000, "two.flac")
    clip(folder / "b" / "c", 5011, "v1.two.wav")
    (folder / "notes.txt").write_text("not for us")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_folder_is_mirrored_and_comes_back(tree: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    coded, back = tree.parent / "coded", tree.parent / "back"
    assert main(["encode", str(tree), "-o", str(coded), "-m", model]) == 0
    assert "3 done, 0 failed, 1 skipped" in capsys.readouterr().err
    assert names(coded) == ["b/c/v1.two.ncs", "b/two.ncs", "one.ncs"]
    assert main(["decode", str(coded), "-o", str(back), "-m", model, "--suffix", ".flac"]) == 0
    assert names(back) == ["b/c/v1.two.flac", "b/two.flac", "one.flac"]
    assert soundfile.info(back / "b" / "c" / "v1.two.flac").frames == 5011


def test_one_bad_file_does_not_stop_the_others(tree: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "b" / "broken.wav").write_text("not a sound")
    clip(tree, 4000, "one.flac")  # would become the same one.ncs
    for batch in ("1", "8"):
        out = tree.parent / f"coded{batch}"
        assert main(["encode", str(tree), "-o", str(out), "-m", model, "--batch", batch]) == 1
        error = capsys.readouterr().err
        assert names(out) == ["b/c/v1.two.ncs", "b/two.ncs", "one.ncs"]
        assert "broken.wav: not readable" in error and "its output is that of" in error and "2 failed" in error
    assert main(["encode", str(tree), "-o", str(tree.parent / "coded1"), "-m", model]) == 1  # all exist
    assert "exists: add --overwrite" in capsys.readouterr().err


def test_batches_give_the_files_that_singles_give(tree: Path, model: str) -> None:
    for size in ("1", "3"):
        assert main(["encode", str(tree), "-o", str(tree.parent / f"c{size}"), "-m", model, "--batch", size]) == 0
        assert (
            main(["decode", str(tree.parent / "c1"), "-o", str(tree.parent / f"d{size}"), "-m", model, "--batch", size])
            == 0
        )
    for name in names(tree.parent / "c1"):
        assert (tree.parent / "c1" / name).read_bytes() == (tree.parent / "c3" / name).read_bytes()
    for name in names(tree.parent / "d1"):
        one, three = (soundfile.read(tree.parent / d / name)[0] for d in ("d1", "d3"))
        assert np.abs(one - three).max() <= 1 / 32768
    assert main(["encode", str(tree), "-m", model, "--batch", "0"]) == 2


def test_files_of_several_models_find_theirs(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEURALCODECS_HOME", str(tree.parent / "home"))
    for seed, name in enumerate(["first", "second"]):
        make_codec(seed).save_pretrained(tree.parent / name)
        assert main(["export", str(tree.parent / name), name]) == 0
    capsys.readouterr()
    assert main(["models"]) == 0
    listed = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in listed][:2] == ["first", "second"]  # the defaults of the package follow
    assert main(["encode", str(tree / "one.wav"), "-m", "first"]) == 0
    assert main(["encode", str(tree / "b"), "-m", "second", "-o", str(tree)]) == 0
    assert main(["decode", str(tree), "-o", str(tree.parent / "back"), "--batch", "4"]) == 0
    assert len(names(tree.parent / "back")) == 3
    (tree.parent / "home" / "first" / "model.safetensors").unlink()
    capsys.readouterr()
    assert main(["decode", str(tree / "one.ncs"), "-o", str(tree.parent / "x.wav")]) == 2
    error = capsys.readouterr().err
    assert listed[0][1] in error and "second" in error and error.count("\n") == 1
    assert main(["export", str(tree.parent / "second"), "second"]) == 2  # exists
    assert "--overwrite" in capsys.readouterr().err


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> io.BytesIO:
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=out, write=lambda s: pytest.fail(s), flush=lambda: None))
    return out


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_pipes(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    source = clip(tmp_path, 4000, name)
    assert main(["encode", str(source), "-o", str(tmp_path / "file.ncs"), "-m", model]) == 0
    data = source.read_bytes()
    if name.endswith(".wav"):  # as a program writes it that does not know the length yet
        data = data[:4] + b"\xff\xff\xff\xff" + data[8:40] + b"\xff\xff\xff\xff" + data[44:]
    out = piped(monkeypatch, data)
    assert main(["encode", "-", "-m", model]) == 0
    assert out.getvalue() == (tmp_path / "file.ncs").read_bytes()
    wav = piped(monkeypatch, out.getvalue())
    assert main(["decode", "-", "-o", "-", "-m", model]) == 0
    decoded, rate = soundfile.read(io.BytesIO(wav.getvalue()))
    assert len(decoded) == 4000 and rate == soundfile.info(source).samplerate


def test_what_cannot_go_together_is_refused(tree: Path, model: str) -> None:
    (tree.parent / "empty").mkdir()
    for arguments in (
        ["encode", str(tree), "-o", "-", "-m", model],
        ["encode", str(tree), "-o", str(tree / "notes.txt"), "-m", model],
        ["encode", "-", "-", "-m", model],
        ["encode", "-", "-o", str(tree), "-m", model],
        ["encode", str(tree.parent / "empty"), "-m", model],
        ["decode", str(tree / "one.wav"), "--salvage", "--from", "1", "-m", model],
    ):
        assert main(arguments) == 2
    assert names(tree) == ["b/c/v1.two.wav", "b/two.flac", "notes.txt", "one.wav"]


def test_rates_and_metadata(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = np.random.default_rng(0).normal(0, 0.1, (30001, 3))
    soundfile.write(tmp_path / "a.wav", data, 44100, "PCM_24")
    coded = tmp_path / "a.ncs"
    assert main(["encode", str(tmp_path / "a.wav"), "-m", model]) == 0
    plain = coded.stat().st_size
    assert main(["decode", str(coded), "-o", str(tmp_path / "b.wav"), "-m", model]) == 0
    back = soundfile.info(tmp_path / "b.wav")
    assert (back.samplerate, back.channels, back.frames) == (44100, 3, 30001)
    assert main(["decode", str(coded), "-o", str(tmp_path / "c.wav"), "-m", model, "--keep-codec-rate"]) == 0
    kept = soundfile.info(tmp_path / "c.wav")
    assert (kept.samplerate, kept.channels, kept.frames) == (16000, 3, -(-30001 * 16000 // 44100))
    more = ["--metadata", "--title", "A tone", "--overwrite"]
    assert main(["encode", str(tmp_path / "a.wav"), "-m", model, *more]) == 0
    capsys.readouterr()
    assert main(["info", str(coded)]) == 0
    said = capsys.readouterr().out
    assert all(fact in said for fact in ("A tone", "a.wav", "PCM_24")) and coded.stat().st_size > plain


def test_a_full_disk_and_a_closed_pipe_leave_nothing(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    source = clip(tmp_path, 200_000)
    assert main(["encode", str(source), "-m", model]) == 0
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = names(tmp_path)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
        statuses = [
            main(["decode", str(tmp_path / "clip.ncs"), "-o", str(tmp_path / "out.wav"), "-m", model]),
            main(["encode", str(source), "-o", str(tmp_path / "out.ncs"), "-m", model]),
        ]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err
    assert statuses == [2, 2] and error.count("\n") == 2 and names(tmp_path) == before


def test_an_interrupt_leaves_no_partial_file(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    from neuralcodecs import files

    source, write = clip(tmp_path), files.write
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):

        def interrupted(*arguments: object, number: int = number, **named: object) -> None:
            write(*arguments, **named)  # type: ignore[arg-type]
            signal.raise_signal(number)  # to this thread: one sent to the process may reach another, and come later

        monkeypatch.setattr(files, "write", interrupted)
        assert main(["encode", str(source), "-o", str(tmp_path / "out.ncs"), "-m", model]) == status
        assert names(tmp_path) == [
            "clip.wav",
            *(f"model/{n}" for n in ("README.md", "config.yaml", "model.safetensors")),
        ]
