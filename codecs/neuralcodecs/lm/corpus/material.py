"""A tokenized corpus as what a language model is trained on: no signal is read, no code computed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Int64
from torch import Tensor

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.lm.material import CodecMaterial, Material

SHARD = ".parquet"
COLUMNS = ["id", "codes", "shape", "fingerprint", "levels"]


class Corpus(Material):
    """Shards that ``neuralcodecs tokenize`` wrote; signal files are read too, for prompts and scores.

    Args:
        model: the codec that made them, as for ``CodecMaterial``.
        levels: of the corpus; None: the codec's default.
    """

    def __init__(self, model: str, levels: int | None = None) -> None:
        self.signals = CodecMaterial(model, levels)
        self.alphabet = self.signals.alphabet
        self.axes = self.signals.axes
        self.suffixes = (SHARD, *self.signals.suffixes)
        self.unit = self.signals.unit
        self.identity = self.signals.identity

    def read_all(self, path: Path) -> Iterator[Int64[Tensor, "rows *grid"]]:
        """Codes of every row of a shard. Raises CodecError when another codec or other levels made it."""
        if path.suffix != SHARD:
            yield self.read(path)
            return
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(256, columns=COLUMNS):
                    yield from self._rows(path, batch)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise CodecError(f"{path} is no shard of codes ({str(error)[:200]}): tokenize again") from error

    def _rows(self, path: Path, batch: pa.RecordBatch) -> Iterator[Tensor]:
        own = (self.identity, self.signals.levels)
        for n, made in enumerate(zip(*(batch.column(name).to_pylist() for name in COLUMNS[3:]), strict=True)):
            if made != own:
                raise CodecError(f"{path}: codes of model {made[0]} at {made[1]} levels, not {own[0]} at {own[1]}")
            values, shape = batch.column("codes")[n].values.to_numpy(), batch.column("shape")[n].as_py()
            if len(values) != np.prod(shape) or len(shape) != 1 + self.axes:
                raise CodecError(f"{path}: {len(values)} codes have no shape {shape}: it is damaged, tokenize again")
            yield torch.from_numpy(values.astype(np.int64)).view(*shape)

    def read(self, path: Path) -> Int64[Tensor, "rows *grid"]:
        return self.signals.read(path)

    def extent(self, grid: Shape) -> float:
        return self.signals.extent(grid)

    def shape(self, size: Sequence[float]) -> Shape:
        return self.signals.shape(size)

    def grid(self, shape: Shape) -> Shape:
        return self.signals.grid(shape)

    def write(self, path: Path, codes: Int64[Tensor, "rows *grid"], shape: Shape) -> None:
        self.signals.write(path, codes, shape)

    def to(self, device: torch.device) -> None:
        self.signals.to(device)
