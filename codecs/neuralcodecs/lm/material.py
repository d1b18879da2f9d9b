"""What a language model of codes is trained on: files as codes of a frozen codec, or as their own bytes."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from neuralcodecs.atomic import atomic
from neuralcodecs.checkpoints import digest
from neuralcodecs.codes import Codes, Shape, Stream
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.measure import evaluating
from neuralcodecs.lm.suitable import check_suitable
from neuralcodecs.medium import SignalInfo
from neuralcodecs.pretrained import fingerprint, named

FOLDER = Path("~/.cache/neuralcodecs/codes")
UNITS = {1: "second", 2: "pixel"}
BYTE_LIMIT = 2**24
"""Largest file that is taken as bytes."""


class Material(Configured, ABC):
    """Files as codes ``(rows, *grid)``.

    ``alphabet``: of each row. ``axes``: of the grid. ``suffixes``: of the files. ``unit``: of a file's extent, in which
    rates are told: second, pixel, byte. ``identity``: what the codes mean, in hex.
    """

    alphabet: Shape
    axes: int
    suffixes: tuple[str, ...]
    unit: str
    identity: str

    @abstractmethod
    def read(self, path: Path) -> Int64[Tensor, "rows *grid"]:
        """The codes of a file. Raises CodecError naming the file when it has none."""

    def read_all(self, path: Path) -> Iterator[Int64[Tensor, "rows *grid"]]:
        """The codes of every signal in a file: of the one that it is, but for containers."""
        yield self.read(path)

    @abstractmethod
    def extent(self, grid: Shape) -> float:
        """Size of a signal whose codes have this grid, in ``unit``."""

    @abstractmethod
    def shape(self, size: Sequence[float]) -> Shape:
        """The shape of the signal of a size: seconds; height and width; bytes. Raises CodecError for another one."""

    @abstractmethod
    def grid(self, shape: Shape) -> Shape:
        """The grid of the codes of a signal of this shape."""

    @abstractmethod
    def write(self, path: Path, codes: Int64[Tensor, "rows *grid"], shape: Shape) -> None:
        """The file that codes stand for."""

    def to(self, device: torch.device) -> None:
        """Where codes are computed from now on."""


class CodecMaterial(Material):
    """Codes of a frozen codec, computed once for each file and kept on disk.

    They are kept under the codec's fingerprint and the hash of the file's bytes: a file that is changed, or moved, or
    another codec, cannot be mistaken for what was there.

    Args:
        model: exported folder, checkpoint, run folder, known name or hub id; or a config (``.yaml``) of a codec, whose
            weights are then random, of seed 0.
        levels: how many codebooks; None: the codec's default.
        cache: folder of the codes; None: ``~/.cache/neuralcodecs/codes``.

    Raises:
        CodecError: the codec has a scaler, whose numbers no code can hold, or side streams.
    """

    def __init__(self, model: str, levels: int | None = None, cache: str | None = None) -> None:
        self.codec = named(model)
        if self.codec.scaler is not None:
            raise CodecError(f"{model} has a scaler, whose numbers are no codes of a language model: use one without")
        check_suitable(self.codec)
        self.levels = self.codec.check_levels(levels)
        self.alphabet = self.codec.quantizer.codebook_sizes[: self.levels]
        strides = self.codec.encoder.strides
        self.axes = len(self.codec.grid(tuple(8 * n for n in strides)))
        self.suffixes = self.codec.medium.suffixes
        self.unit = UNITS[len(strides)]
        self.identity = fingerprint(self.codec).hex()
        self._folder = (FOLDER if cache is None else Path(cache)).expanduser() / f"{self.identity}-{self.levels}"

    def read(self, path: Path) -> Int64[Tensor, "rows *grid"]:
        kept = self._folder / f"{digest(path)}.npy"
        if kept.is_file():
            return torch.from_numpy(np.load(kept, allow_pickle=False).astype(np.int64))
        signal, _ = self.codec.medium.read(path)
        with evaluating(self.codec):
            codes = self.codec.encode(signal[None].to(self.codec.device), self.levels)["codes"][0].cpu()
        self._folder.mkdir(parents=True, exist_ok=True)
        with atomic(kept) as temporary:
            np.save(temporary, codes.numpy().astype(np.int32))
        return codes

    def to(self, device: torch.device) -> None:
        self.codec.to(device)

    def extent(self, grid: Shape) -> float:
        strides = self.codec.encoder.strides
        if len(grid) != len(strides):
            raise CodecError(f"a grid of {grid} codes says no size: this codec's codes have no place in the picture")
        return self.codec.medium.extent(tuple(n * stride for n, stride in zip(grid, strides, strict=True)))

    def shape(self, size: Sequence[float]) -> Shape:
        if len(size) != len(self.codec.encoder.strides) or min(size) <= 0:
            raise CodecError("audio has --seconds, pictures have --size HEIGHT WIDTH, each above 0")
        return tuple(round(n * (self.codec.medium.rate or 1)) for n in size)

    def grid(self, shape: Shape) -> Shape:
        return self.codec.grid(shape)

    def write(self, path: Path, codes: Int64[Tensor, "rows *grid"], shape: Shape) -> None:
        stream = Stream("codes", codes[None].to(self.codec.device), self.alphabet, (tuple(codes.shape[1:]),))
        signal = self.codec.decode(Codes((stream,), (shape,)))[0].cpu()
        medium = self.codec.medium
        with atomic(path) as temporary:
            medium.write(temporary, signal, SignalInfo(medium.rate, medium.channels, shape))


class Bytes(Material):
    """The bytes of files of any format: one row of an alphabet of 256.

    Args:
        suffixes: of the files, for example ``.ncs``.
    """

    def __init__(self, suffixes: list[str]) -> None:
        self.alphabet = (256,)
        self.axes = 1
        self.suffixes = tuple(suffixes)
        self.unit = "byte"
        self.identity = "bytes"

    def read(self, path: Path) -> Int64[Tensor, "rows *grid"]:
        size = path.stat().st_size
        if not 0 < size <= BYTE_LIMIT:
            raise CodecError(f"{path} has {size} bytes: give files of 1 to {BYTE_LIMIT}")
        return torch.from_numpy(np.fromfile(path, np.uint8).astype(np.int64))[None]

    def extent(self, grid: Shape) -> float:
        return float(grid[0])

    def shape(self, size: Sequence[float]) -> Shape:
        if len(size) != 1 or size[0] < 1:
            raise CodecError("files of bytes have --bytes, at least 1")
        return (round(size[0]),)

    def grid(self, shape: Shape) -> Shape:
        return shape

    def write(self, path: Path, codes: Int64[Tensor, "rows *grid"], shape: Shape) -> None:
        with atomic(path) as temporary:
            temporary.write_bytes(codes[0].cpu().numpy().astype(np.uint8).tobytes())
