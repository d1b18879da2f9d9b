"""Corpora as Parquet shards: the codes of encode, from every kind of input; exact after kills; bad files are named."""

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import ROOT, SAMPLES
from examples import clip, make_codec
from test_codec_tokenizer import text

from neuralcodecs import Codec, CodecError
from neuralcodecs.cli import main
from neuralcodecs.lm import CodecTokenizer, ready
from neuralcodecs.pretrained import fingerprint

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from neuralcodecs.lm.corpus import Corpus  # noqa: E402
from neuralcodecs.lm.corpus.folder import Folder, shard_ids  # noqa: E402
from neuralcodecs.lm.corpus.inputs import Item, find_items  # noqa: E402
from neuralcodecs.lm.corpus.local import run_local  # noqa: E402
from neuralcodecs.lm.corpus.shards import Job, ShardMaker, read_signal  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    make_codec().save_pretrained(folder)
    return folder


def tokenize(model: Path, out: Path, *arguments: object) -> int:
    return main(["tokenize", *map(str, arguments), "--out", str(out), "-m", str(model), "--workers", "1"])


def rows(out: Path) -> list[dict]:
    return [row for path in sorted((out / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def codes_of(row: dict) -> torch.Tensor:
    return torch.tensor(row["codes"]).view(*row["shape"])


def recordings(folder: Path, count: int = 5) -> list[Path]:
    """Real speech of a few lengths, of which two are equal."""
    folder.mkdir(parents=True)
    return [clip(folder, n, f"{n}-{k}.wav") for k, n in enumerate((9001, 4321, 9001, 700, 12000)[:count])]


def expected(codec: Codec, path: Path, levels: int) -> torch.Tensor:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    codes = codec.encode(codec.medium.read(path)[0][None], levels)["codes"][0]
    torch.set_num_threads(threads)
    return codes


@pytest.fixture(scope="module")
def corpus(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings and a bad file, the very first, in ``in``, tokenized in ``out``."""
    folder = tmp_path_factory.mktemp("corpus")
    recordings(folder / "in")
    (folder / "in" / "0bad.wav").write_bytes(b"RIFF no sound")
    assert tokenize(model, folder / "out", folder / "in", "--levels", 2, "--batch", 2) == 1
    return folder


def test_codes_are_those_of_encode_and_bad_files_are_named(
    corpus: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out, codec = corpus / "in", corpus / "out", make_codec()
    paths = sorted(path for path in source.iterdir() if "bad" not in path.name)
    made = {row["id"]: row for row in rows(out)}
    assert sorted(made) == sorted(path.name for path in paths)
    for path in paths:
        row = made[path.name]
        assert torch.equal(codes_of(row), expected(codec, path, 2))
        info = soundfile.info(path)
        assert (row["original_rate"], row["original_shape"], row["sample_rate"]) == (
            info.samplerate,
            [info.frames],
            codec.medium.rate,
        )
        assert row["fingerprint"] == fingerprint(codec).hex() and row["levels"] == 2
    with (out / "manifest.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert {row["id"]: row["status"] for row in listed} == {p.name: "ok" for p in paths} | {"0bad.wav": "bad"}
    for row in listed:
        if row["status"] == "ok":
            assert pq.read_table(out / "data" / row["shard"])["id"][int(row["row"])].as_py() == row["id"]
    with (out / "bad.csv").open() as file:
        (bad,) = csv.DictReader(file)
    assert bad["id"] == "0bad.wav" and "not readable" in bad["reason"]
    before = {path: path.stat().st_mtime_ns for path in (out / "data").iterdir()}
    assert tokenize(model, out, source, "--levels", 2) == 1  # nothing left to do, and it says so again
    assert "1 bad" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (out / "data").iterdir()}


def test_another_corpus_or_folder_is_refused(
    tmp_path: Path, corpus: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = corpus / "in", corpus / "out"
    make_codec(seed=1).save_pretrained(tmp_path / "other")
    for arguments in ((model, out, source, "--levels", 1), (tmp_path / "other", out, source, "--levels", 2)):
        capsys.readouterr()
        assert tokenize(*arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "use another --out" in error
    assert tokenize(model, source, source) == 2
    assert tokenize(model, tmp_path / "new", tmp_path / "nowhere") == 2
    with Folder(out).locked(), pytest.raises(CodecError, match="another tokenize"), Folder(out).locked():
        pass


def shard_of(folder: Path, paths: list[Path]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "shard-0.tar", "w") as shard:
        for n, path in enumerate(paths):
            shard.add(path, f"part/{n:03d}.wav")
            note = json.dumps({"speaker": n}).encode()
            member = tarfile.TarInfo(f"part/{n:03d}.json")
            member.size = len(note)
            shard.addfile(member, io.BytesIO(note))
    return folder / "shard-0.tar"


def table_of(folder: Path, paths: list[Path]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    table = pa.table({"audio": pa.array(cells, kind), "speaker": list(range(len(paths)))})
    pq.write_table(table, folder / "a.parquet", row_group_size=2)
    return folder


def saved_of(folder: Path, paths: list[Path]) -> Path:
    datasets = pytest.importorskip("datasets")
    table = pq.read_table(table_of(folder / "table", paths) / "a.parquet")
    datasets.DatasetDict({"train": datasets.Dataset(table)}).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def manifest_of(folder: Path, paths: list[Path]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{os.path.relpath(path, folder)},{n},{'a' if n < 9 else 'b'}" for n, path in enumerate(paths)]
    (folder / "m.csv").write_text("\n".join(["path,speaker,split", *lines]))
    return folder / "m.csv"


@pytest.mark.parametrize("make", [shard_of, table_of, saved_of, manifest_of])
def test_every_input_gives_the_signals_of_its_files_and_what_it_says_of_them(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    paths, codec = recordings(tmp_path / "in"), make_codec()
    source = make(tmp_path / "made", paths)
    items = find_items([str(source)], codec.medium.suffixes)
    assert len({item.id for item in items}) == len(items) == len(paths)
    for n in (0, 3, 1, 4, 2):  # in no order
        read, original = read_signal(codec, items[n], tmp_path)
        whole, info = codec.medium.read(paths[n])
        assert torch.equal(read, whole) and original == info
        assert str(json.loads(items[n].metadata)["speaker"]) == str(n)


def test_two_items_of_one_id_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        recordings(tmp_path / name, 1)
    with pytest.raises(CodecError, match="both hold"):
        find_items([str(tmp_path / "a"), str(tmp_path / "b")], (".wav",))


def test_tables_without_a_signal_and_damaged_shards_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    (tmp_path / "b.tar").write_bytes(b"\1" * 700)
    for name in ("a.parquet", "b.tar"):
        with pytest.raises(CodecError, match=name):
            find_items([str(tmp_path / name)], (".wav",))


def test_datasets_reads_the_shards(tmp_path: Path, corpus: Path) -> None:
    datasets = pytest.importorskip("datasets")
    first = min((corpus / "out" / "data").iterdir())
    assert not shard_ids(first)[0]  # it has the bad item alone
    read = datasets.load_dataset("parquet", data_dir=str(corpus / "out"), cache_dir=str(tmp_path))
    assert read["train"].to_list() == rows(corpus / "out") and len(read["train"]) == 5


def test_rows_are_ids_of_a_text_model(corpus: Path) -> None:
    tokenizer = CodecTokenizer(make_codec(), ready.delay(), levels=2)
    tokenizer.add_to(text())
    for row in rows(corpus / "out"):
        sound, _ = tokenizer.codec.medium.read(corpus / "in" / row["id"])
        assert tokenizer.from_row(row) == tokenizer.encode(sound)
    wrong = [
        {"levels": 3},
        {"fingerprint": "00"},
        {"codes": row["codes"][1:]},
        {"signal_shape": [99999]},
        {"codes": None},
    ]
    wrong.append({"codes": [60, *row["codes"][1:]]})
    for change in wrong:
        with pytest.raises(CodecError):
            tokenizer.from_row(row | change)
    with pytest.raises(CodecError, match="no row"):
        tokenizer.from_row({"text": "x"})


def test_a_material_of_shards_has_the_codes_of_the_files(tmp_path: Path, corpus: Path, model: Path) -> None:
    material, codec = Corpus(str(model), 2), make_codec()
    shards = sorted((corpus / "out" / "data").iterdir())
    read = [codes for shard in shards for codes in material.read_all(shard)]
    paths = sorted(path for path in (corpus / "in").iterdir() if "bad" not in path.name)
    for codes, path in zip(read, paths, strict=True):
        assert torch.equal(codes, expected(codec, path, 2))
    (codes,) = material.read_all(paths[0])
    assert torch.equal(codes, material.read(paths[0]))
    with pytest.raises(CodecError, match="at 2 levels"):
        list(Corpus(str(model), 4).read_all(shards[1]))
    damaged = tmp_path / "a.parquet"
    damaged.write_bytes(shards[1].read_bytes()[:-9])
    with pytest.raises(CodecError, match="no shard of codes"):
        list(material.read_all(damaged))


def job_of(model: Path, out: Path, paths: list[Path], shards: int = 1) -> Job:
    """A corpus whose items are in so many shards."""
    from neuralcodecs.lm.corpus.folder import Facts

    codec = make_codec()
    folder = Folder(out)
    with folder.locked():
        items = [Item(path.name, str(path), -1, 0, "", path.suffix, "{}") for path in paths]
        folder.begin(Facts(fingerprint(codec).hex(), 2, codec.medium.rate, "cpu", []), items)
    facts = json.loads((out / "corpus.json").read_text())
    size = -(-len(paths) // shards)
    (out / "corpus.json").write_text(json.dumps(facts | {"items_per_shard": size}))
    table = pq.read_table(out / "_items.parquet")
    pq.write_table(table, out / "_items.parquet", row_group_size=size)
    (out / "_work").mkdir()
    return Job(out, str(model), 2, facts["fingerprint"], "cpu", False, 2, "run")


def test_an_item_that_ends_its_process_is_given_up_at_the_second_time(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = recordings(tmp_path / "in")
    job = job_of(model, tmp_path / "out", paths)
    attempts: list[list[str]] = [[]]

    def read(codec, item, work):  # type: ignore[no-untyped-def]
        attempts[-1].append(item.id)
        if item.id == paths[1].name:
            raise ZeroDivisionError("no such thing")
        return read_signal(codec, item, work)

    monkeypatch.setattr("neuralcodecs.lm.corpus.shards.read_signal", read)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            ShardMaker(job).make(0, lambda progress: None)
        attempts.append([])
    ShardMaker(job).make(0, lambda progress: None)
    made, bad = shard_ids(Folder(job.folder).shard(0))
    assert list(made) == [path.name for path in paths if path != paths[1]]
    assert list(bad) == [paths[1].name] and "ended 2 times (ZeroDivisionError" in bad[paths[1].name]
    assert [attempt.count(paths[1].name) for attempt in attempts] == [1, 1, 0]


def test_what_an_earlier_run_left_in_flight_says_nothing_of_the_items(tmp_path: Path, model: Path) -> None:
    paths = recordings(tmp_path / "in", 2)
    job = job_of(model, tmp_path / "out", paths)
    left = {"run": "earlier", "flying": [paths[0].name], "deaths": {paths[0].name: 9}, "reason": ""}
    (job.folder / "_work" / "0.json").write_text(json.dumps(left))
    ShardMaker(job).make(0, lambda progress: None)
    assert shard_ids(Folder(job.folder).shard(0)) == ({path.name: n for n, path in enumerate(paths)}, {})


def test_finish_refuses_a_shard_that_lacks_an_item(tmp_path: Path, corpus: Path) -> None:
    out = shutil.copytree(corpus / "out", tmp_path / "out")
    second, third = sorted((out / "data").iterdir())[1:3]
    shutil.copy(second, third)
    with pytest.raises(CodecError, match=f"{third.name} does not hold the items"):
        Folder(out).finish()


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path, model: Path) -> None:
    paths = recordings(tmp_path / "in") + recordings(tmp_path / "more", 4)
    paths = [path.rename(path.with_name(f"{n}.wav")) for n, path in enumerate(paths)]
    job = job_of(model, tmp_path / "out", paths, shards=3)
    killed = False
    for _ in run_local(job, [0, 1, 2], 1, ["cpu"]):
        if not killed:
            killed = True
            import multiprocessing

            (child,) = multiprocessing.active_children()
            os.kill(child.pid or 0, signal.SIGKILL)
    assert Folder(job.folder).finish().done == len(paths)


def kill_at_random(arguments: list[str], out: Path, delay: float, alone: bool) -> int:
    """Kill -9 the command so many seconds after its workers began; returns how many shards are whole.

    ``alone``: the driver only, else all of its processes.
    """
    started = time.time()
    process = subprocess.Popen(arguments, cwd=ROOT / "codecs", start_new_session=True, stderr=subprocess.DEVNULL)
    while process.poll() is None and not [m for m in out.glob("_work/*.json") if stamp(m) > started]:
        time.sleep(0.05)
    time.sleep(delay)
    (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
    process.wait()
    return len([path for path in (out / "data").glob("*.parquet") if "partial" not in path.name])


def stamp(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # renamed or removed since it was listed
        return 0.0


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_ten_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path, model: Path, engine: str) -> None:
    if engine == "ray":
        pytest.importorskip("ray")
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    files, copies = sorted((SAMPLES / "speech").rglob("*.flac")), 16
    for n in range(copies * len(files)):
        (source / f"{n:04d}.flac").symlink_to(files[n % len(files)])
    (source / "bad.flac").write_bytes(b"fLaC, not")
    arguments = [sys.executable, "-m", "neuralcodecs.cli", "tokenize", str(source), "--out", str(out)]
    arguments += ["-m", str(model), "--workers", "2", "--engine", engine]
    whole = [kill_at_random(arguments, out, random.uniform(0, 3), n % 2 == 1) for n in range(10)]
    print(f"shards after each kill: {whole} of {Folder(out).shards}")
    assert whole == sorted(whole) and whole[0] < whole[-1]
    assert subprocess.run(arguments, cwd=ROOT / "codecs").returncode == 1
    made = {row["id"]: row for row in rows(out)}
    assert (
        sorted(row["id"] for row in rows(out)) == sorted(made) == [f"{n:04d}.flac" for n in range(copies * len(files))]
    )
    with (out / "bad.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["bad.flac"]
    assert not list(out.rglob("*partial*")) and not (out / "_work").exists()
    alone = [expected(make_codec(), path, 4) for path in files[:3]]
    for n, codes in enumerate(alone):
        assert torch.equal(codes_of(made[f"{n:04d}.flac"]), codes)


def test_without_ray_one_line_says_how_to_get_it(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings(tmp_path / "in", 1)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert tokenize(model, tmp_path / "out", tmp_path / "in", "--engine", "ray") == 2
    assert "pip install 'neuralcodecs[ray]'" in capsys.readouterr().err


@pytest.mark.slow
def test_ray_gives_the_rows_of_the_local_engine(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("ray")
    recordings(tmp_path / "in")
    (tmp_path / "in" / "bad.wav").write_bytes(b"RIFF no sound")
    command = [sys.executable, "-m", "neuralcodecs.cli", "tokenize", str(tmp_path / "in"), "-m", str(model)]
    for engine in ("local", "ray"):
        run = [*command, "--out", str(tmp_path / engine), "--workers", "2", "--engine", engine]
        assert subprocess.run(run, cwd=ROOT / "codecs", timeout=300).returncode == 1
    assert rows(tmp_path / "ray") == rows(tmp_path / "local") and len(rows(tmp_path / "ray")) == 5
    assert (tmp_path / "ray" / "bad.csv").read_text() == (tmp_path / "local" / "bad.csv").read_text()


DEADLY = """
import os
from neuralcodecs.audio import Audio

class Deadly(Audio):
    def read(self, path):
        return os._exit(9) if path.name == "deadly.wav" else super().read(path)
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_file_that_kills_its_worker_costs_no_other(tmp_path: Path, model: Path, engine: str) -> None:
    if engine == "ray":
        pytest.importorskip("ray")
    (tmp_path / "deadly.py").write_text(DEADLY)
    own = shutil.copytree(model, tmp_path / "own")
    config = (own / "config.yaml").read_text().replace("neuralcodecs.audio.medium.Audio", "deadly.Deadly")
    (own / "config.yaml").write_text(config)
    recordings(tmp_path / "in")
    clip(tmp_path / "in", 5000, "deadly.wav")
    run = [sys.executable, "-m", "neuralcodecs.cli", "tokenize", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    run += ["-m", str(own), "--workers", "2", "--engine", engine, "--trust"]
    path = f"{ROOT / 'codecs'}{os.pathsep}{tmp_path}"
    result = subprocess.run(run, env=os.environ | {"PYTHONPATH": path}, timeout=300, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1, result.stderr
    assert len(rows(tmp_path / "out")) == 5
    assert "deadly.wav" in (tmp_path / "out" / "bad.csv").read_text()
    assert "ended 2 times (killed)" in result.stderr
