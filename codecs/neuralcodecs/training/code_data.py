"""Codes for training language models: windows of the codes of files, which are computed once and kept on disk."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.lm.language import Language
from neuralcodecs.lm.material import Material
from neuralcodecs.sources import Entry, Source
from neuralcodecs.training.data import Examples, Loading, SignalDataModule

DEFAULT_LOADING = Loading(workers=0)


class CodeWindows:
    """Random windows ``(rows, *window)`` of the codes of files that are at least as large."""

    def __init__(self, codes: list[Int[Tensor, "rows ..."]], weights: list[float], window: Shape) -> None:
        self.codes = codes
        self.window = window
        # files in windows: a second of a long file comes as often as one of a short file
        sizes = np.array([np.prod([n / w for n, w in zip(c.shape[1:], window, strict=True)]) for c in codes])
        self.captions: Sequence[bytes] = ()
        self.shares: NDArray[np.float64] = sizes * np.array(weights)

    def draw(self, file: int, source: np.random.Generator) -> Int[Tensor, "rows ..."]:
        codes = self.codes[file]
        room = zip(codes.shape[1:], self.window, strict=True)
        starts = [int(source.integers(n - w + 1)) for n, w in room]
        region = (slice(None), *(slice(s, s + w) for s, w in zip(starts, self.window, strict=True)))
        return codes[region].to(torch.int64)


class WholeCodes(Dataset[Tensor]):
    """The codes of each file."""

    def __init__(self, codes: list[Tensor]) -> None:
        self.codes = codes

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: int) -> Tensor:
        return self.codes[index].to(torch.int64)


class CodeDataModule(SignalDataModule):
    """Windows for training, whole files for validation; what codes are is told by the ``LanguageTask`` that is trained.

    All codes are held in memory. Training files smaller than the window are left out, with a warning.

    Args:
        train: folders, manifests, or ``Source`` objects with weight and split, of files (not of codes).
        val: the same; also what ``test`` runs on.
        batch_size: windows per process and step.
        loading: workers (0 is fastest: the codes are in memory), seed, tolerance of bad files.
    """

    def __init__(
        self,
        train: list[str | Source],
        val: list[str | Source],
        batch_size: int = 16,
        loading: Loading = DEFAULT_LOADING,
    ) -> None:
        super().__init__(train, val, batch_size, loading)

    @property
    def language(self) -> Language:
        """What is trained."""
        return self.trainer.lightning_module.language  # type: ignore[union-attr, return-value]

    @property
    def suffixes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Of the material's files."""
        return self.language.material.suffixes

    @property
    def unit(self) -> str:  # type: ignore[override]
        """Of ``extent``."""
        return f"{self.language.material.unit}s"

    def setup(self, stage: str) -> None:
        """Compute the codes, where training runs. Raises CodecError as that of other data does."""
        assert self.trainer is not None, "the trainer knows what codes are"
        self.language.material.to(self.trainer.strategy.root_device)
        super().setup(stage)

    def training_examples(self, found: list[Entry]) -> tuple[Examples, list[str]]:
        codes, entries, failed = read_all(self.language.material, found)
        self.stop_if_none(len(codes), failed)
        window = self.language.window
        large = [n for n, c in enumerate(codes) if all(a >= b for a, b in zip(c.shape[1:], window, strict=True))]
        if not large:
            raise CodecError(f"no training file has {window} positions: make the window smaller")
        if len(large) < len(codes):
            warnings.warn(f"{len(codes) - len(large)} files are smaller than the window {window}", stacklevel=2)
        return CodeWindows([codes[n] for n in large], [entries[n].weight for n in large], window), failed

    def validation_examples(self, found: list[Entry]) -> tuple[Dataset[Tensor], list[str]]:
        codes, _, failed = read_all(self.language.material, found)
        self.stop_if_none(len(codes), failed)
        return WholeCodes(codes), failed

    def extent(self, shape: Shape) -> float:
        return self.language.material.extent(shape)

    @property
    def validation_batch_size(self) -> int:
        return 1  # files differ in size, and their codes have no padding


def read_all(material: Material, found: list[Entry]) -> tuple[list[Tensor], list[Entry], list[str]]:
    """The codes of all readable files, their entries, and a line for each of the others."""
    codes, entries, failed = [], [], []
    for entry in tqdm(found, "codes", unit="file", disable=None, leave=False):
        try:
            for read in material.read_all(entry.path):
                codes.append(read.to(torch.int32))
                entries.append(entry)
        except CodecError as error:
            failed.append(str(error))
    return codes, entries, failed
