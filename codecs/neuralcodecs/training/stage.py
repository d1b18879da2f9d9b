"""Stages of training as data: which parts are frozen, and which are loaded from an earlier run."""

import torch
from torch import nn

from neuralcodecs.codec import Codec
from neuralcodecs.errors import CodecError
from neuralcodecs.pretrained import load_discriminator, load_state, locate
from neuralcodecs.training.adversary import Adversary

PARTS = ("encoder", "quantizer", "decoder")


class Stage:
    """Where training starts from and what it leaves alone.

    Args:
        freeze: parts of the codec that do not move and stay in evaluation mode: encoder, quantizer, decoder.
        load_from: checkpoint or exported folder of an earlier run.
        load: parts to take from it; a part that is not named keeps its fresh weights (a decoder swap).
        modules: whole codecs inside the codec and where their weights come from, for example
            ``{decoder.space.codec: runs/a}``; or parts of them, ``{encoder.encoder: "runs/a#encoder"}``.
    """

    def __init__(
        self,
        freeze: tuple[str, ...] = (),
        load_from: str | None = None,
        load: tuple[str, ...] = PARTS,
        modules: dict[str, str] | None = None,
    ) -> None:
        for part in (*freeze, *load):
            if part not in PARTS:
                raise CodecError(f"{part!r} is not a part of a codec: freeze and load take {', '.join(PARTS)}")
        self.freeze = tuple(freeze)
        self.load_from = load_from
        self.load = tuple(load)
        self.modules = dict(modules or {})

    def frozen(self, codec: Codec) -> list[nn.Module]:
        return [getattr(codec, part) for part in self.freeze]

    def prepare(self, codec: Codec) -> None:
        """Load and freeze; called once, before the optimizer is made."""
        if self.load_from is not None:
            state = load_state(locate(self.load_from))
            for part in self.load:
                _load_strictly(getattr(codec, part), _part(state, part), part, self.load_from)
        for name, source in self.modules.items():
            try:
                module = codec.get_submodule(name)
            except AttributeError:
                raise CodecError(f"the codec has no module {name!r} to load {source} into: name another") from None
            run, _, part = source.partition("#")
            state = load_state(locate(run))
            if part:
                state = _part(state, part)
            _load_strictly(module, state, name, source)
        for module in self.frozen(codec):
            module.requires_grad_(False).eval()


def start_from(source: str, codec: Codec, adversary: Adversary | None) -> None:
    """Take all weights from an exported folder, checkpoint or hub id, those of the discriminator where it has them.

    Raises CodecError when they do not fit.
    """
    path = locate(source)
    _load_strictly(codec, load_state(path), "codec", source)
    discriminator = load_discriminator(path)
    if adversary is not None and discriminator:
        _load_strictly(adversary.discriminator, discriminator, "discriminator", source)


def _part(state: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    """The weights of one part, by their names in it."""
    return {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(f"{part}.")}


def _load_strictly(module: nn.Module, state: dict[str, torch.Tensor], part: str, source: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CodecError(
            f"the {part} in {source} does not fit this config ({reason}): use its config, or load other parts"
        ) from error
