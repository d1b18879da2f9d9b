"""Rows of Arrow and Parquet files that hold audio or pictures as ``datasets`` does: a struct of bytes and path."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from neuralcodecs.errors import CodecError

ROWS = 1000
"""Read at once."""


def media_column(schema: pa.Schema, wanted: str, path: Path) -> str:
    """The column of signals; CodecError when there is none, or several and none is wanted."""
    names = [field.name for field in schema if _is_media(field.type)]
    if wanted:
        names = [name for name in names if name == wanted]
    if len(names) != 1:
        has = ", ".join(names) or "none"
        raise CodecError(f"{path}: one column of audio or pictures (bytes and path) is needed, it has {has}: --column")
    return names[0]


def plain_columns(schema: pa.Schema) -> list[str]:
    """Columns of texts and numbers."""
    kinds = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
    )
    return [field.name for field in schema if any(kind(field.type) for kind in kinds)]


def read_batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The table in parts, these columns only."""
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(ROWS, columns=columns)
        return
    with pa.memory_map(str(path)) as file:
        for batch in pa.ipc.open_stream(file):
            yield batch.select(columns)


def read_cell(path: str, row: int, column: str) -> tuple[bytes | None, str | None]:
    """Bytes and path of one row. Raises CodecError when the table has no such row."""
    try:
        table = _open(path)
        cell = table.cell(row, column)
    except (pa.ArrowException, OSError, IndexError, KeyError) as error:
        raise CodecError(f"{path}: row {row} cannot be read ({str(error)[:200]}): was the table replaced?") from error
    return (None, None) if cell is None else (cell["bytes"], cell["path"])


class _Saved:
    """A memory-mapped Arrow stream."""

    def __init__(self, path: str) -> None:
        self._table = pa.ipc.open_stream(pa.memory_map(path)).read_all()

    def cell(self, row: int, column: str) -> dict[str, Any] | None:
        return self._table.column(column)[row].as_py()


class _Parquet:
    """The row group that was read last stays in memory: rows are asked for in order."""

    def __init__(self, path: str) -> None:
        self._file = pq.ParquetFile(path)
        counts = [self._file.metadata.row_group(n).num_rows for n in range(self._file.num_row_groups)]
        self._ends = np.cumsum(counts)
        self._held = -1

    def cell(self, row: int, column: str) -> dict[str, Any] | None:
        group = int(np.searchsorted(self._ends, row, side="right"))
        if group != self._held:
            self._table = self._file.read_row_group(group, columns=[column])
            self._held = group
        return self._table.column(column)[row - int(self._ends[group])].as_py()


@lru_cache(maxsize=2)
def _open(path: str) -> _Saved | _Parquet:
    return _Parquet(path) if path.endswith(".parquet") else _Saved(path)


def _is_media(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    fields = {kind.field(n).name: kind.field(n).type for n in range(kind.num_fields)}
    return set(fields) == {"bytes", "path"} and pa.types.is_binary(fields["bytes"])
