"""Codecs on disk: an exported folder (config.yaml + model.safetensors), a Lightning checkpoint, or a hub id.

Nothing here unpickles. A config that came with weights may name classes of this package only, unless it is trusted.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from neuralcodecs import attached, hub, models
from neuralcodecs.atomic import atomic
from neuralcodecs.card import CARD, card
from neuralcodecs.checkpoints import FOLDER, newest
from neuralcodecs.codec import Codec
from neuralcodecs.compact import is_halved
from neuralcodecs.errors import CodecError
from neuralcodecs.models import FINGERPRINT, WEIGHTS
from neuralcodecs.trusted import (
    check_finite,
    check_state,
    import_policy,
    load_tensors,
    read_config,
    save_tensors,
    write_config,
)

CONFIG = "config.yaml"
DISCRIMINATOR = "discriminator.safetensors"


def save(
    codec: Codec,
    directory: Path,
    metrics: dict[str, Any] | None = None,
    discriminator: dict[str, Tensor] | None = None,
) -> None:
    """Write ``config.yaml``, ``model.safetensors``, ``README.md`` and the priors into ``directory``, made if needed.

    ``metrics``: an evaluation for the card. ``discriminator``: its tensors, for whoever trains on; a file of their own.
    A codec of ``compact.halved`` weights takes half the bytes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    identity, narrow = fingerprint(codec).hex(), is_halved(codec)
    if discriminator is not None:
        save_tensors(discriminator, directory / DISCRIMINATOR, {})
    save_tensors(codec.state_dict(), directory / WEIGHTS, {FINGERPRINT: identity}, narrow)
    with atomic(directory / CARD) as temporary:
        temporary.write_text(card(codec, identity, metrics))
    attached.save_priors(codec.priors, directory, narrow)
    write_config(codec.config(), directory / CONFIG)


def load(
    source: str | Path,
    trust: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
    averaged: bool = True,
) -> Codec:
    """The codec in a folder, a checkpoint, of a known name or at a hub id (at ``revision``); in evaluation mode.

    ``averaged``: take the averaged weights of a checkpoint that has them. Raises CodecError naming the source when it
    is missing, damaged, does not fit its config, or names foreign classes. Nothing is allocated by what a config or a
    header claims: shapes are compared with the file's first.
    """
    path = locate(source, revision, token)
    if path.is_file():
        checkpoint = _checkpoint(path)
        config, state = checkpoint["codec"], _state_of(checkpoint, path, averaged)
    else:
        config, state = read_config(path / CONFIG), load_state(path)
    if not trust:  # classes of others may need real tensors to be made
        with torch.device("meta"):
            check_state(build(config, str(source)).state_dict(), state, str(source))
    codec = build(config, str(source), trust)
    check_state(codec.state_dict(), state, str(source))
    check_finite(state, str(source))
    codec.load_state_dict(state)
    codec.priors = {} if path.is_file() else attached.load_priors(path, trust)
    return codec.eval()


def locate(source: str | Path, revision: str | None = None, token: str | bool | None = None) -> Path:
    """An exported folder, a checkpoint, the newest whole one of a run's folder, a known model, or a hub id's copy."""
    path = Path(source)
    if path.is_file() or (path / WEIGHTS).is_file():
        return path
    if path.is_dir():
        found = newest(path / FOLDER) or newest(path)
        if found is None:
            raise CodecError(f"{path} holds neither {WEIGHTS} nor a whole checkpoint: train or export first")
        return found
    known = models.find(str(source))
    if known is not None:
        return known
    if str(source).count("/") != 1 or path.suffix == ".ckpt" or str(source).startswith((".", "/", "~")):
        raise CodecError(
            f"no model at {source}: give a checkpoint, an exported folder, a name that `neuralcodecs models` lists, "
            "or a hub id owner/name"
        )
    return hub.fetch(str(source), (CONFIG, WEIGHTS, DISCRIMINATOR, *attached.files()), revision, token)


def load_state(path: Path, averaged: bool = True) -> dict[str, Tensor]:
    """The codec's tensors by name, from a folder or a checkpoint; averaged weights where a checkpoint has them."""
    if path.is_dir():
        return load_tensors(path / WEIGHTS)
    return _state_of(_checkpoint(path), path, averaged)


def _state_of(checkpoint: dict[str, Any], path: Path, averaged: bool) -> dict[str, Tensor]:
    state = _part(checkpoint, "codec.")
    try:
        for callback in checkpoint.get("callbacks", {}).values() if averaged else ():
            state |= callback.get("average", {})
        tensors = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    except (AttributeError, TypeError) as error:
        raise CodecError(f"{path} is no checkpoint of this package: {str(error)[:200]}") from error
    if tensors > path.stat().st_size:  # strides of 0 let a kilobyte stand for any size
        raise CodecError(f"{path} claims {tensors} bytes of weights and has {path.stat().st_size}: it is forged")
    return state


def load_discriminator(path: Path) -> dict[str, Tensor]:
    """The discriminator's tensors in a folder or a checkpoint; empty where there is none."""
    if path.is_dir():
        return load_tensors(path / DISCRIMINATOR) if (path / DISCRIMINATOR).is_file() else {}
    return _part(_checkpoint(path), "adversary.discriminator.")


def build(config: dict[str, Any], source: str, trust: bool = False) -> Codec:
    """A codec with fresh weights from ``{class_path, init_args}``; ``source`` is named in errors."""
    from jsonargparse import ArgumentError, ArgumentParser

    if not isinstance(config, dict) or not str(config.get("class_path", "")).endswith("Codec"):
        raise CodecError(f"{source} holds no codec config: expected class_path and init_args of a Codec")
    with import_policy(trust):
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(Codec, "codec")
        try:
            parsed = parser.parse_object({"codec": config.get("init_args", {})})
            return parser.instantiate_classes(parsed).codec
        except (ArgumentError, TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())[:400]
            raise CodecError(
                f"the config of {source} was refused ({reason}); if it names classes of your own, say --trust"
            ) from error


def named(source: str, trust: bool = False) -> Codec:
    """The codec at ``source``, or one with the weights of seed 0 from a YAML config: a codec's, or a training's."""
    if not source.endswith((".yaml", ".yml")):
        return load(source, trust)
    try:
        node = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CodecError(f"{source} is no config that can be read: {' '.join(str(error).split())[:200]}") from error
    if isinstance(node, dict) and isinstance(node.get("model"), dict):
        node = node["model"].get("init_args", {}).get("codec")
    if not isinstance(node, dict):
        raise CodecError(f"{source} holds no codec: name a codec's config, or a training's with model.init_args.codec")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(node, source, trust).eval()


def fingerprint(codec: Codec) -> bytes:
    """8 bytes that identify what codes mean: weights of encoder and quantizer, and the layout of the streams.

    The decoder is not part of it: a codec whose decoder was swapped or fine-tuned reads the files of the original.
    """
    parts = {"segmenter": codec.segmenter, "scaler": codec.scaler}
    layout = {
        "rate": codec.medium.rate,
        "channels": codec.medium.channels,
        "strides": codec.encoder.strides,
        "codebook_sizes": codec.quantizer.codebook_sizes,
        **{k: (type(v).__name__, v.describe()["init_args"]) for k, v in parts.items() if v is not None},
    }
    digest = hashlib.sha256(json.dumps(layout, sort_keys=True).encode())
    for part in (codec.encoder, codec.quantizer):
        for name, tensor in sorted(part.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.digest()[:8]


def _part(checkpoint: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}


def _checkpoint(path: Path) -> dict[str, Any]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch.load has no common base for what damaged or hostile files raise
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise CodecError(f"{path} is not a readable checkpoint ({reason}); nothing was loaded from it") from error
    if not isinstance(checkpoint, dict) or "codec" not in checkpoint or "state_dict" not in checkpoint:
        raise CodecError(f"{path} is no checkpoint of this package: it has no codec config and weights")
    return checkpoint
