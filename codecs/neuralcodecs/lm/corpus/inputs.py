"""What is in the inputs of a corpus: files of folders and manifests, WebDataset shards, rows of tables.

A table is a Parquet file, a folder of them, or what ``datasets`` wrote with ``save_to_disk``.
https://github.com/webdataset/webdataset and https://huggingface.co/docs/datasets
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from neuralcodecs.errors import CodecError
from neuralcodecs.lm.corpus.tables import media_column, plain_columns, read_batches
from neuralcodecs.sources import Source, entries, remarks

NOTE = 2**16
"""Largest text or JSON beside a signal in a WebDataset shard that is kept, in bytes."""


class Item(NamedTuple):
    """One signal of the inputs.

    ``id``: unique. ``place``: the file, shard or table that holds it. ``start`` and ``size``: bytes of a shard, or row
    of a table and 1; -1 and 0 for a whole file. ``column``: of the table. ``suffix``: of the signal's format.
    ``metadata``: JSON of what the input says of it.
    """

    id: str
    place: str
    start: int
    size: int
    column: str
    suffix: str
    metadata: str


def find_items(inputs: list[str], suffixes: tuple[str, ...], split: str = "", column: str = "") -> list[Item]:
    """All items of the inputs, in a fixed order.

    ``suffixes``: of the medium. ``split``: of manifests. ``column``: of tables.

    Raises:
        CodecError: an input is missing or holds nothing, or two items have one id.
    """
    found: dict[str, Item] = {}
    for text in inputs:
        for item in _of(Path(text), suffixes, split, column):
            first = found.setdefault(item.id, item)
            if first is not item:
                raise CodecError(
                    f"{item.place} and {first.place} both hold {item.id!r}: rename one, or use another --out"
                )
    return list(found.values())


def _of(path: Path, suffixes: tuple[str, ...], split: str, column: str) -> Iterator[Item]:
    shards = sorted(path.glob("*.tar")) if path.is_dir() else [path] if path.suffix.lower() == ".tar" else []
    tables = _tables(path)
    if not path.exists():
        raise CodecError(f"{path}: no such folder, manifest, shard or table: correct the path of the input")
    if tables:
        yield from (item for table in tables for item in _rows(table, path, suffixes, column))
    elif shards:
        yield from (item for shard in shards for item in _members(shard, suffixes))
    else:
        yield from _files(path, suffixes, split)


def _files(path: Path, suffixes: tuple[str, ...], split: str) -> Iterator[Item]:
    root = path if path.is_dir() else path.parent
    listed = entries([Source(str(path), split=split)], suffixes)
    said = {} if path.is_dir() else remarks(path)
    for entry in listed:
        inside = entry.path.is_relative_to(root)
        name = (entry.path.relative_to(root) if inside else entry.path).as_posix()
        yield Item(
            name, str(entry.path.absolute()), -1, 0, "", entry.path.suffix.lower(), json.dumps(said.get(entry.path, {}))
        )


def _members(path: Path, suffixes: tuple[str, ...]) -> Iterator[Item]:
    """Members of one name up to the first dot are one example; its texts and JSON are metadata of its signals."""
    signals: dict[str, list[tarfile.TarInfo]] = {}
    notes: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                key, _, ending = member.name.rpartition("/")[2].partition(".")
                key = member.name[: len(member.name) - len(ending) - 1]
                if not member.isreg() or member.issparse():
                    continue
                if f".{ending.lower()}".endswith(suffixes):
                    signals.setdefault(key, []).append(member)
                elif ending in ("json", "txt") and member.size <= NOTE:
                    notes.setdefault(key, {}).update(_note(shard, member, ending))
    except (tarfile.TarError, OSError) as error:
        raise CodecError(f"{path} is no whole WebDataset shard ({error}): replace it or leave it out") from error
    for key, members in signals.items():
        for member in members:
            name = key if len(members) == 1 else member.name
            suffix = Path(member.name).suffix.lower()
            place, note = str(path.absolute()), json.dumps(notes.get(key, {}))
            yield Item(f"{path.name}/{name}", place, member.offset_data, member.size, "", suffix, note)


def _note(shard: tarfile.TarFile, member: tarfile.TarInfo, ending: str) -> dict[str, Any]:
    file = shard.extractfile(member)
    text = "" if file is None else file.read().decode("utf-8", "replace")
    try:
        read = json.loads(text) if ending == "json" else {"text": text}
    except (ValueError, RecursionError):
        return {"json": text}
    return read if isinstance(read, dict) else {"json": read}


def _tables(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() in (".parquet", ".arrow") else []
    saved = sorted(path.rglob("state.json"))
    if saved:
        return [file for state in saved for file in _saved(state)]
    return sorted(p for p in path.rglob("*.parquet") if not p.name.startswith(("_", ".")))


def _saved(state: Path) -> list[Path]:
    try:
        read = json.loads(state.read_text(encoding="utf-8"))
        names = [Path(str(file["filename"])).name for file in read["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CodecError(f"{state} is not what datasets.save_to_disk writes: save the dataset again") from error
    return [state.parent / name for name in names]


def _rows(path: Path, root: Path, suffixes: tuple[str, ...], column: str) -> Iterator[Item]:
    name = path.relative_to(root).as_posix() if path != root else path.name
    row = 0
    try:
        chosen, plain = _columns(path, column)
        for batch in read_batches(path, [*plain, chosen]):
            names = pa.compute.struct_field(batch.column(chosen), "path").to_pylist()
            for facts, within in zip(batch.select(plain).to_pylist(), names, strict=True):
                suffix = Path(within or "").suffix.lower()
                note = json.dumps(facts | ({"path": within} if within else {}), default=str)
                known = suffix if suffix in suffixes else ""
                yield Item(f"{name}:{row}", str(path.absolute()), row, 1, chosen, known, note)
                row += 1
    except (pa.ArrowException, OSError) as error:
        raise CodecError(f"{path} cannot be read as a table ({str(error)[:200]}): replace it") from error


def _columns(path: Path, column: str) -> tuple[str, list[str]]:
    """The column of signals and those of plain values."""
    if path.suffix == ".parquet":
        schema = pq.read_schema(path)
    else:
        with pa.memory_map(str(path)) as file:
            schema = pa.ipc.open_stream(file).schema
    return media_column(schema, column, path), plain_columns(schema)
