"""Codecs on disk: an exported folder (config.yaml + model.safetensors), a Lightning checkpoint, or a hub id.

Nothing here unpickles. A config that came with weights may name classes of this package only, unless it is trusted.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from neuralcodecs import hub, models
from neuralcodecs.atomic import atomic
from neuralcodecs.card import CARD, card
from neuralcodecs.checkpoints import FOLDER, newest
from neuralcodecs.codec import Codec
from neuralcodecs.errors import CodecError
from neuralcodecs.models import FINGERPRINT, WEIGHTS

CONFIG = "config.yaml"
DISCRIMINATOR = "discriminator.safetensors"
MAX_CONFIG_BYTES = 1_000_000


def save(
    codec: Codec,
    directory: Path,
    metrics: dict[str, Any] | None = None,
    discriminator: dict[str, Tensor] | None = None,
) -> None:
    """Write ``config.yaml``, ``model.safetensors`` and ``README.md`` into ``directory``, made if needed.

    ``metrics``: an evaluation for the card. ``discriminator``: its tensors, for whoever trains on; a file of their own.
    """
    directory.mkdir(parents=True, exist_ok=True)
    identity = fingerprint(codec).hex()
    if discriminator is not None:
        _save_tensors(discriminator, directory / DISCRIMINATOR, {})
    _save_tensors(codec.state_dict(), directory / WEIGHTS, {FINGERPRINT: identity})
    with atomic(directory / CARD) as temporary:
        temporary.write_text(card(codec, identity, metrics))
    with atomic(directory / CONFIG) as temporary:
        temporary.write_text(yaml.safe_dump(codec.config(), sort_keys=False))


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
        config, state = _read_config(path / CONFIG), load_state(path)
    if not trust:  # classes of others may need real tensors to be made
        with torch.device("meta"):
            _check_state(build(config, str(source)).state_dict(), state, str(source))
    codec = build(config, str(source), trust)
    _check_state(codec.state_dict(), state, str(source))
    _check_finite(state, str(source))
    codec.load_state_dict(state)
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
    if models.is_name(str(source)) and (models.place(str(source)) / WEIGHTS).is_file():
        return models.place(str(source))
    if str(source).count("/") != 1 or path.suffix == ".ckpt" or str(source).startswith((".", "/", "~")):
        raise CodecError(
            f"no model at {source}: give a checkpoint, an exported folder, a name that `neuralcodecs models` lists, "
            "or a hub id owner/name"
        )
    return hub.fetch(str(source), (CONFIG, WEIGHTS, DISCRIMINATOR), revision, token)


def load_state(path: Path, averaged: bool = True) -> dict[str, Tensor]:
    """The codec's tensors by name, from a folder or a checkpoint; averaged weights where a checkpoint has them."""
    if path.is_dir():
        return _load_tensors(path / WEIGHTS)
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
        return _load_tensors(path / DISCRIMINATOR) if (path / DISCRIMINATOR).is_file() else {}
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


def _save_tensors(tensors: dict[str, Tensor], path: Path, facts: dict[str, str]) -> None:
    with atomic(path) as temporary:
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(whole, temporary, {"format": "pt", **facts})


def _load_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # SafetensorError, OSError, and KeyError or ValueError for types that torch lacks
        reason = " ".join(str(error).split())[:200]
        raise CodecError(f"{path} cannot be read ({reason}): export or download the model again") from error


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


def _read_config(path: Path) -> Any:
    if not path.is_file():
        raise CodecError(f"no {path.name} in {path.parent}: an exported model has {CONFIG} and {WEIGHTS}")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise CodecError(f"{path} has {path.stat().st_size} bytes, more than the {MAX_CONFIG_BYTES} a config may have")
    try:
        return yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from error


def _check_state(expected: dict[str, Tensor], state: dict[str, Tensor], source: str) -> None:
    missing, unknown = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unknown:
        raise CodecError(f"weights of {source} do not fit its config: missing {missing[:3]}, unknown {unknown[:3]}")
    for name, tensor in state.items():
        want = expected[name]
        if tensor.shape != want.shape:
            raise CodecError(
                f"{name} in {source} has shape {tuple(tensor.shape)}, its config makes {tuple(want.shape)}"
            )
        if tensor.is_floating_point() != want.is_floating_point():
            raise CodecError(f"{name} in {source} is of type {tensor.dtype}, its config makes {want.dtype}")


def _check_finite(state: dict[str, Tensor], source: str) -> None:
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CodecError(f"{name} in {source} holds values that are not finite: the model is unusable")


@contextmanager
def import_policy(trust: bool) -> Iterator[None]:
    """Let jsonargparse import this package alone. The policy is global to a process, so it is put back afterwards."""
    from jsonargparse import _common, set_parsing_settings

    saved = dict(_common.parsing_settings)
    try:
        if not trust:
            set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=["neuralcodecs"])
        yield
    finally:
        _common.parsing_settings.update(saved)
