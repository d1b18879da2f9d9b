"""The folder of a tokenized corpus: what it is made of and with, which shards are there, and the final account.

corpus.json        model, levels, inputs: written when the list of items is complete
_items.parquet     the list of items, in order; shard k is a fixed slice of it
data/train-00000-of-00032.parquet    a shard that exists is done, and names its bad items in its own metadata
_work/             what is in flight; of no value once its process is gone
manifest.csv, bad.csv    every item and where it is; the items that are in no shard, and why
"""

import csv
import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from neuralcodecs.atomic import atomic, remove_temporaries
from neuralcodecs.errors import CodecError
from neuralcodecs.lm.corpus.inputs import Item

BAD = b"bad"
"""Key in a shard's metadata: JSON, reasons by id."""
MOST = 1024
"""Items of a shard; smaller corpora have about 32 shards."""


@dataclass(frozen=True)
class Facts:
    """What every shard of a folder was made with and of; two folders of equal facts and items are equal.

    ``batch`` is not among them: on the CPU it changes nothing. ``device``: cpu or cuda, whose arithmetic differs.
    """

    fingerprint: str
    levels: int
    sample_rate: int
    device: str
    inputs: list[str]
    split: str = ""
    column: str = ""


@dataclass(frozen=True)
class Account:
    """``done`` and ``bad``: items. ``reasons`` by id of the bad ones."""

    done: int
    reasons: dict[str, str]

    @property
    def bad(self) -> int:
        return len(self.reasons)


class Folder:
    """``path`` need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data"
        self.work = path / "_work"
        self._facts = path / "corpus.json"
        self._items = path / "_items.parquet"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One driver at a time; the lock of a killed one is gone with it. Its leftovers are removed."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "_lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise CodecError(
                    f"{self.path} is being written by another tokenize: wait, or use another --out"
                ) from error
            for folder in (self.path, self.data):
                remove_temporaries(folder)
            shutil.rmtree(self.work, ignore_errors=True)
            self.data.mkdir(exist_ok=True)
            self.work.mkdir(exist_ok=True)
            yield
            shutil.rmtree(self.work, ignore_errors=True)

    def check(self, facts: Facts) -> bool:
        """Whether a corpus was begun here; CodecError when it is another one, or the folder holds something else."""
        if not self._facts.is_file():
            others = [p.name for p in self.path.glob("*") if not p.name.startswith("_")] if self.path.is_dir() else []
            others += [p.name for p in self.data.glob("*")]
            if set(others) - {"data"}:
                raise CodecError(f"{self.path} holds {sorted(others)[0]} and is no corpus: use another --out")
            return False
        stored = self._read()
        for name, value in asdict(facts).items():
            if stored.get(name) != value:
                raise CodecError(
                    f"{self.path} was begun with {name} {stored.get(name)!r}, this is {value!r}: use another --out"
                )
        return True

    def begin(self, facts: Facts, items: list[Item]) -> None:
        """Store the list, then the facts: facts without a list do not occur."""
        size = max(1, min(MOST, -(-len(items) // 32)))
        columns = dict(zip(Item._fields, map(list, zip(*items, strict=True)), strict=True))
        with atomic(self._items) as temporary:
            pq.write_table(pa.table(columns), temporary, row_group_size=size)
        with atomic(self._facts) as temporary:
            stored = {**asdict(facts), "items": len(items), "items_per_shard": size}
            temporary.write_text(json.dumps(stored, indent=1))

    @property
    def count(self) -> int:
        """Of items."""
        return int(self._read()["items"])

    @property
    def shards(self) -> int:
        """How many there will be."""
        return -(-self.count // self._read()["items_per_shard"])

    def shard(self, number: int) -> Path:
        return self.data / f"train-{number:05d}-of-{self.shards:05d}.parquet"

    def missing(self) -> list[int]:
        """Numbers of the shards that are not there."""
        return [number for number in range(self.shards) if not self.shard(number).is_file()]

    def items(self, number: int) -> list[Item]:
        """Of one shard: a row group of the list."""
        with pq.ParquetFile(self._items) as file:
            table = file.read_row_group(number)
        return [Item(**row) for row in table.to_pylist()]

    def finish(self) -> Account:
        """Count every item, and write ``manifest.csv`` and ``bad.csv``.

        Raises CodecError naming a shard whose ids are not exactly the ones listed for it.
        """
        done = 0
        reasons: dict[str, str] = {}
        with (
            atomic(self.path / "manifest.csv") as manifest,
            atomic(self.path / "bad.csv") as bad,
            manifest.open("w", newline="", encoding="utf-8") as good_file,
            bad.open("w", newline="", encoding="utf-8") as bad_file,
        ):
            good_rows, bad_rows = csv.writer(good_file), csv.writer(bad_file)
            good_rows.writerow(["id", "status", "shard", "row", "place"])
            bad_rows.writerow(["id", "place", "reason"])
            for number in range(self.shards):
                shard, items = self.shard(number), self.items(number)
                rows, failed = shard_ids(shard)
                if list(rows) != [item.id for item in items if item.id not in failed] or len(rows) + len(failed) != len(
                    items
                ):
                    raise CodecError(f"{shard} does not hold the items listed for it: remove it and run again")
                for item in items:
                    ok = item.id not in failed
                    where = [shard.name, rows[item.id]] if ok else ["", ""]
                    good_rows.writerow([item.id, "ok" if ok else "bad", *where, item.place])
                    if not ok:
                        bad_rows.writerow([item.id, item.place, failed[item.id]])
                done += len(rows)
                reasons |= failed
        return Account(done, reasons)

    def _read(self) -> dict:
        try:
            return json.loads(self._facts.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CodecError(f"{self._facts} cannot be read ({error}): use another --out") from error


def shard_ids(path: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Row of each id in a shard, and the reason of each bad item. Raises CodecError when it is damaged."""
    try:
        with pq.ParquetFile(path) as file:
            ids = file.read(columns=["id"]).column("id").to_pylist()
            failed = json.loads((file.schema_arrow.metadata or {})[BAD])
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise CodecError(f"{path} is damaged ({str(error)[:200]}): remove it and run again") from error
    rows = {name: row for row, name in enumerate(ids)}
    if len(rows) != len(ids):
        raise CodecError(f"{path} holds an item twice: remove it and run again")
    return rows, failed
