"""What reading a published model needs, whatever its part: tensors without pickle, YAML, and who may be imported."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from neuralcodecs.atomic import atomic
from neuralcodecs.compact import narrowed, restored
from neuralcodecs.errors import CodecError

MAX_CONFIG_BYTES = 1_000_000


def save_tensors(tensors: dict[str, Tensor], path: Path, facts: dict[str, str], narrow: bool = False) -> None:
    """Write tensors as safetensors with ``facts`` in its head; the file appears whole or not at all.

    ``narrow``: in few bytes without loss, see ``compact``.
    """
    if narrow:
        tensors, more = narrowed(tensors)
        facts = facts | more
    with atomic(path) as temporary:
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        temporary.touch()
        mode = temporary.stat().st_mode  # what the user's umask says; safetensors' own files are for their owner alone
        save_file(whole, temporary, {"format": "pt", **facts})
        temporary.chmod(mode)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors by name. Raises CodecError for a file that is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return restored({name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {})  # noqa: SIM118
    except Exception as error:  # SafetensorError, OSError, CodecError; KeyError, ValueError for types that torch lacks
        reason = " ".join(str(error).split())[:200]
        raise CodecError(f"{path} cannot be read ({reason}): export or download the model again") from error


def write_config(config: dict[str, Any], path: Path) -> None:
    """Write a description as YAML."""
    with atomic(path) as temporary:
        temporary.write_text(yaml.safe_dump(config, sort_keys=False))


def read_config(path: Path) -> Any:
    """Plain data from YAML of bounded size, nothing of which has been checked. Raises CodecError for what is none."""
    if not path.is_file():
        raise CodecError(f"no {path.name} in {path.parent}: an exported model has config.yaml and model.safetensors")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise CodecError(f"{path} has {path.stat().st_size} bytes, more than the {MAX_CONFIG_BYTES} a config may have")
    try:
        return yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from error


def check_state(expected: dict[str, Tensor], state: dict[str, Tensor], source: str) -> None:
    """CodecError unless ``state`` has the names, shapes and kinds of numbers of what is expected."""
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


def check_finite(state: dict[str, Tensor], source: str) -> None:
    """CodecError for a tensor with a value that is not finite."""
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
