"""A language model of codes with the material that it speaks: trained, judged, saved and asked for more."""

import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError
from neuralcodecs.lm.material import Material
from neuralcodecs.lm.network import ModelFactory
from neuralcodecs.lm.sampling import Sampling
from neuralcodecs.pretrained import locate
from neuralcodecs.trusted import import_policy


class Information(NamedTuple):
    """What a file says to a model.

    ``bits``: of each row. ``positions``: codes of each row. ``extent``: in the material's unit.
    """

    bits: Float[Tensor, " rows"]
    positions: int
    extent: float


class Language(Configured, nn.Module):
    """A model and its material.

    Args:
        material: files as codes.
        model: called with the alphabet and the number of axes.
        window: positions along each axis that the model sees together, in training and when it is judged.
    """

    made_by_codec = {"model": ("alphabet", "axes")}

    def __init__(self, material: Material, model: ModelFactory, window: list[int]) -> None:
        super().__init__()
        if len(window) != material.axes or min(window) < 1:
            raise CodecError(f"window {window}: give one number above 0 for each of {material.axes} axes")
        self.material = material
        self.model = model(material.alphabet, material.axes)
        self.window = tuple(window)

    def forward(self, codes: Int64[Tensor, "b rows *grid"]) -> Float[Tensor, "b rows *grid"]:
        """The information of each code in nats."""
        return self.model(codes)

    @property
    def nominal(self) -> float:
        """Bits of one position when all codes are equally likely."""
        return sum(math.log2(size) for size in self.model.alphabet)

    @torch.no_grad()
    def information(self, codes: Int64[Tensor, "rows *grid"]) -> Information:
        """Of a file's codes. Windows know nothing of one another, so this is an upper bound."""
        bits = torch.zeros(len(codes), dtype=torch.float64)
        device = next(self.parameters()).device
        for part in self._windows(codes):
            bits += self(part[None].to(device))[0].flatten(1).double().sum(1).cpu() / math.log(2)
        grid = tuple(codes.shape[1:])
        return Information(bits, math.prod(grid), self.material.extent(grid))

    def generate(self, path: Path, size: tuple[float, ...], sampling: Sampling, prompt: Path | None = None) -> None:
        """Write a file of that size, which begins as the file ``prompt`` does.

        Raises CodecError for a size that there is not, and for a prompt that is larger.
        """
        shape = self.material.shape(size)
        begun = None if prompt is None else self.material.read(prompt)
        codes = self.model.sample(self.material.grid(shape), sampling, prompt=begun)[0]
        self.material.write(path, codes, shape)

    def _windows(self, codes: Tensor) -> Iterator[Tensor]:
        starts = product(*(range(0, n, w) for n, w in zip(codes.shape[1:], self.window, strict=True)))
        for corner in starts:
            yield codes[(slice(None), *(slice(s, s + w) for s, w in zip(corner, self.window, strict=True)))]


KEY = "language"


def facts(language: Language) -> dict[str, Any]:
    """What a checkpoint has besides weights."""
    return {**language.describe(), "identity": language.material.identity}


def load_language(source: str | Path, trust: bool = False) -> Language:
    """The language model in a run's folder or a checkpoint, in evaluation mode, with the material that it names.

    ``trust``: the checkpoint may name classes from outside this package. Raises CodecError when it is damaged, holds no
    language model, or names a codec that is not the one it was trained on.
    """
    path, checkpoint = _checkpoint(source)
    node = dict(checkpoint[KEY])
    identity = node.pop("identity", None)
    language = _build(node, str(path), trust)
    if language.material.identity != identity:
        raise CodecError(
            f"{path} was trained on codes of {identity}, the codec that it names is {language.material.identity}: "
            "put that codec back"
        )
    _fill(language, checkpoint, path)
    return language.eval()


def load_weights(language: Language, source: str | Path) -> None:
    """Take the weights of an earlier run. Raises CodecError when they do not fit."""
    path, checkpoint = _checkpoint(source)
    _fill(language, checkpoint, path)


def _checkpoint(source: str | Path) -> tuple[Path, dict[str, Any]]:
    path = locate(source)
    if not path.is_file():
        raise CodecError(f"{source} is no run of a language model: give the folder that train.py --run made")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        sound = bool(checkpoint[KEY].items()) and bool(checkpoint["state_dict"].items())
    except Exception as error:  # torch.load has no common base for what damaged or hostile files raise
        reason = " ".join(str(error).split())[:200]
        raise CodecError(f"{path} is no checkpoint of a language model ({reason}): train one first") from error
    if not sound:
        raise CodecError(f"{path} is no checkpoint of a language model: train one first")
    return path, checkpoint


def _fill(language: Language, checkpoint: dict[str, Any], path: Path) -> None:
    state = checkpoint["state_dict"].items()
    weights = {name.removeprefix(f"{KEY}."): tensor for name, tensor in state if str(name).startswith(f"{KEY}.")}
    try:
        language.load_state_dict(weights)
    except RuntimeError as error:
        raise CodecError(f"weights of {path} do not fit its config: {' '.join(str(error).split())[:200]}") from error


def _build(node: dict[str, Any], source: str, trust: bool) -> Language:
    from jsonargparse import ArgumentError, ArgumentParser

    with import_policy(trust):
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(Language, KEY)
        try:
            return parser.instantiate_classes(parser.parse_object({KEY: node.get("init_args", {})})).language
        except (ArgumentError, TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())[:400]
            raise CodecError(
                f"the config of {source} was refused ({reason}); if it names your classes, say --trust"
            ) from error
