"""The codec that a command works with."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from neuralcodecs.codec import Codec
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.measure import find_files
from neuralcodecs.models import with_fingerprint
from neuralcodecs.pretrained import fingerprint, load
from neuralcodecs.shipped import ALL_SUFFIXES, default_folder, default_for, only_default
from neuralcodecs.tiled import tiled


class Loaded(NamedTuple):
    codec: Codec
    identity: bytes


def load_model(source: str, options: argparse.Namespace, tile: int | None = None) -> Loaded:
    """The model of that name on the device that was asked for, and its fingerprint; ``tile``: see ``tiled``."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise CodecError("--device cuda: no CUDA device here; use --device cpu")
    device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
    codec = load(source, options.trust).to(device)
    identity = fingerprint(codec)
    return Loaded(codec if tile is None else tiled(codec, tile), identity)


def default_of(data: Sequence[str | Path]) -> str:
    """The default model for files and folders of one medium, as a source to load; CodecError for a mixture."""
    files = find_files(data, ALL_SUFFIXES)
    return str(default_folder(only_default(map(default_for, files), ", ".join(map(str, data)))))


class Finder:
    """The model for each file: the one named with ``-m``, else the known one that made the file."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._given = load_model(options.model, options, options.tile) if options.model else None
        self._found: dict[bytes, Loaded] = {}

    def model(self, wanted: bytes, name: str) -> Loaded:
        """CodecError naming the fingerprint that is needed when there is no such model."""
        if self._given is not None:
            return self._given
        if wanted not in self._found:
            try:
                known = with_fingerprint(wanted.hex())
            except CodecError as error:
                raise CodecError(f"{name} {error}") from None
            self._found[wanted] = load_model(str(known.folder), self._options, self._options.tile)
        return self._found[wanted]
