"""Makes one shard of a corpus: what every engine runs. A shard is there whole or not at all."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from neuralcodecs.atomic import atomic
from neuralcodecs.codec import Codec
from neuralcodecs.codes import Codes
from neuralcodecs.errors import CodecError
from neuralcodecs.files import encode_signals
from neuralcodecs.lm.corpus.folder import BAD, Folder
from neuralcodecs.lm.corpus.inputs import Item
from neuralcodecs.lm.corpus.tables import read_cell
from neuralcodecs.medium import SignalInfo
from neuralcodecs.pretrained import fingerprint, load

POOL = 8
"""Batches whose signals are in memory together, so that those of one length meet."""
LIVES = 2
"""Items at which a process ended so often are given up."""


@dataclass(frozen=True)
class Job:
    """What a worker needs; plain, so that it can be sent anywhere.

    ``run``: of this call of the command: what an earlier one left in flight says nothing about the items.
    """

    folder: Path
    model: str
    levels: int
    fingerprint: str
    device: str
    trust: bool
    batch: int
    run: str


class Progress(NamedTuple):
    """Of a part of a shard: items, their extent (seconds or pixels), reasons of the bad ones by id."""

    items: int
    extent: float
    bad: dict[str, str]


class Read(NamedTuple):
    item: Item
    signal: Tensor
    original: SignalInfo


class ShardMaker:
    """Holds the model between shards. One thread, so that codes do not depend on the machine's number of cores.

    Raises CodecError when the model is no longer the one that the corpus was begun with.
    """

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(1)
        self.job = job
        self.folder = Folder(job.folder)
        self.codec = load(job.model, job.trust).to(job.device)
        if fingerprint(self.codec).hex() != job.fingerprint:
            raise CodecError(f"{job.model} was replaced while the corpus was made: put the model back")
        self.schema = schema_of(self.codec, job.levels)

    def make(self, number: int, tell: Callable[[Progress], None]) -> None:
        """Write shard ``number``; ``tell`` is called as it goes on."""
        items = self.folder.items(number)
        mark = _Mark(self.folder.work / f"{number}.json", self.job.run)
        bad = {name: f"its worker ended {n} times {mark.reason}" for name, n in mark.deaths.items() if n >= LIVES}
        tell(Progress(len(bad), 0.0, dict(bad)))
        rows: dict[str, dict[str, Any]] = {}
        suspects = [[item] for item in items if 0 < mark.deaths[item.id] < LIVES]
        others = [item for item in items if not mark.deaths[item.id]]
        size = POOL * self.job.batch
        for pool in [*suspects, *(others[n : n + size] for n in range(0, len(others), size))]:
            with mark.around([item.id for item in pool]):
                made, failed, extent = self._pool(pool)
            rows |= made
            bad |= failed
            tell(Progress(len(pool), extent, failed))
        self._write(number, [rows[item.id] for item in items if item.id in rows], bad)
        mark.path.unlink(missing_ok=True)

    def _pool(self, items: list[Item]) -> tuple[dict[str, dict[str, Any]], dict[str, str], float]:
        """Rows and reasons by id, and the extent of all that was coded."""
        read: list[Read] = []
        bad: dict[str, str] = {}
        for item in items:
            try:
                read.append(Read(item, *read_signal(self.codec, item, self.folder.work)))
            except CodecError as error:
                bad[item.id] = " ".join(str(error).split())
        read.sort(key=lambda one: tuple(one.signal.shape))
        rows: dict[str, dict[str, Any]] = {}
        for first in range(0, len(read), self.job.batch):
            batch = read[first : first + self.job.batch]
            for one, codes in self._encode(batch, bad):
                rows[one.item.id] = self._row(one, codes)
        extent = sum(self.codec.medium.extent(tuple(one.signal.shape[1:])) for one in read if one.item.id in rows)
        return rows, bad, extent

    def _encode(self, batch: list[Read], bad: dict[str, str]) -> Iterator[tuple[Read, Codes]]:
        """One by one where the batch is refused; reasons go into ``bad``."""
        try:
            yield from zip(
                batch, encode_signals(self.codec, [one.signal for one in batch], self.job.levels), strict=True
            )
        except CodecError as error:
            if len(batch) == 1:
                bad[batch[0].item.id] = " ".join(str(error).split())
                return
            for one in batch:
                yield from self._encode([one], bad)

    def _row(self, read: Read, codes: Codes) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": read.item.id,
            "signal_shape": codes.shapes[0],
            "sample_rate": self.codec.medium.rate,
            "original_rate": read.original.rate,
            "original_channels": read.original.channels,
            "original_shape": read.original.shape,
            "fingerprint": self.job.fingerprint,
            "levels": self.job.levels,
            "source": read.item.place,
            "metadata": read.item.metadata,
        }
        for stream in codes:
            row[stream.name] = stream.values[0].flatten().cpu().numpy()
            row[shape_name(stream.name)] = tuple(stream.values.shape[1:])
        return row

    def _write(self, number: int, rows: list[dict[str, Any]], bad: dict[str, str]) -> None:
        schema = self.schema.with_metadata({BAD: json.dumps(bad)})
        with atomic(self.folder.shard(number)) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            if rows:  # datasets refuses a group without rows, but not a file without groups
                writer.write_table(pa.Table.from_pylist(rows, schema))


class _Mark:
    """What is in flight in a shard, on disk: what a dead process leaves to the next one.

    ``deaths``: how often a process of this run ended while it worked on an item. ``reason``: the last one's.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path = path
        left = json.loads(path.read_text()) if path.is_file() else {}
        left = left if left.get("run") == run else {}
        self._run = run
        self.reason = left.get("reason", "(killed)")
        self.deaths = Counter(left.get("deaths", {}))
        self.deaths.update(left.get("flying", []))
        self._write([])

    @contextmanager
    def around(self, ids: list[str]) -> Iterator[None]:
        self._write(ids)
        try:
            yield
        except Exception as error:  # whatever it is, the engine starts a new process, which reads this
            self.reason = f"({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            self._write(ids)
            raise
        self._write([])

    def _write(self, flying: list[str]) -> None:
        temporary = self.path.with_suffix(".new")
        temporary.write_text(
            json.dumps({"run": self._run, "flying": flying, "deaths": self.deaths, "reason": self.reason})
        )
        temporary.replace(self.path)


def read_signal(codec: Codec, item: Item, work: Path) -> tuple[Tensor, SignalInfo]:
    """The signal of an item and what it was; CodecError when it cannot be read. ``work``: for temporary files."""
    if item.size == 0:
        return codec.medium.read(Path(item.place))
    data, path = _bytes(item)
    if data is None:
        if not path:
            raise CodecError(f"{item.id}: neither bytes nor a path")
        return codec.medium.read(Path(item.place).parent / path)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        file = Path(folder) / f"signal{item.suffix}"
        file.write_bytes(data)
        try:
            return codec.medium.read(file)
        except CodecError as error:
            raise CodecError(str(error).replace(str(file), item.id)) from error


def _bytes(item: Item) -> tuple[bytes | None, str | None]:
    if item.column:
        return read_cell(item.place, item.start, item.column)
    try:
        with Path(item.place).open("rb") as shard:
            shard.seek(item.start)
            data = shard.read(item.size)
    except OSError as error:
        raise CodecError(f"{item.place}: {error.strerror or error}") from error
    if len(data) != item.size:
        raise CodecError(f"{item.id}: {item.place} ends before it")
    return data, None


def shape_name(stream: str) -> str:
    """Column of the shape ``(rows, *grid)`` of a stream; ``shape`` of the codes themselves."""
    return "shape" if stream == "codes" else f"{stream}_shape"


def schema_of(codec: Codec, levels: int) -> pa.Schema:
    """Columns of a shard: unsigned integers of two bytes where the alphabets allow."""
    sizes = pa.list_(pa.int32())
    columns = {"id": pa.string()}
    for stream in codec.layouts(tuple(8 * n for n in codec.encoder.strides), levels):
        narrow = max(stream.alphabet) <= 2**16
        columns |= {stream.name: pa.list_(pa.uint16() if narrow else pa.uint32()), shape_name(stream.name): sizes}
    columns |= {"signal_shape": sizes, "sample_rate": pa.int32(), "original_rate": pa.int32()}
    columns |= {"original_channels": pa.int32(), "original_shape": sizes, "fingerprint": pa.string()}
    columns |= {"levels": pa.int32(), "source": pa.string(), "metadata": pa.string()}
    return pa.schema(columns)
