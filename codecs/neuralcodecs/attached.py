"""Priors as parts of a published model: ``prior-NAME.yaml`` says what it is, ``prior-NAME.safetensors`` its integers.

They lie beside ``config.yaml`` and are read under the same policy as that file: nothing is unpickled, and only classes
of this package are made unless the model is trusted.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neuralcodecs.errors import CodecError
from neuralcodecs.stream_coder import StreamCoder, StreamCoders
from neuralcodecs.trusted import check_state, import_policy, load_tensors, read_config, save_tensors, write_config

if TYPE_CHECKING:
    from neuralcodecs.codec import Codec

NAMES = ("static", "learned")
SMALL = torch.int8, torch.int16, torch.int32
"""What whole numbers are stored as, whatever type they are computed in."""


def files() -> tuple[str, ...]:
    """Names of all files that a model's folder may have of priors."""
    return tuple(name for prior in NAMES for name in _names(prior))


def check_prior(codec: "Codec", name: str, prior: StreamCoder) -> None:
    """CodecError for a prior of another name, or of other codes than those of the codec."""
    if name not in NAMES:
        raise CodecError(f"a prior {name!r}: a model may have {' and '.join(NAMES)}")
    sizes = codec.quantizer.codebook_sizes
    if prior.alphabet != tuple(sizes):
        raise CodecError(f"a prior of alphabets {prior.alphabet} for a codec of {tuple(sizes)}: make one of its codes")


def save_priors(priors: StreamCoders, directory: Path, narrow: bool = False) -> None:
    """Write the files of each prior, ``narrow`` ones packed; those that the folder has of others go."""
    for name in NAMES:
        config, tensors = (directory / file for file in _names(name))
        if name not in priors:
            config.unlink(missing_ok=True)
            tensors.unlink(missing_ok=True)
            continue
        facts = {"fingerprint": priors[name].fingerprint.hex()}
        state = priors[name].state_dict()
        save_tensors(state if narrow else {k: _compact(v) for k, v in state.items()}, tensors, facts, narrow)
        write_config(priors[name].describe(), config)


def load_priors(directory: Path, trust: bool = False) -> dict[str, StreamCoder]:
    """The priors in a folder, by name. Raises CodecError naming the file that is damaged or refused."""
    return {name: _load(directory, name, trust) for name in NAMES if (directory / _names(name)[0]).is_file()}


def _load(directory: Path, name: str, trust: bool) -> StreamCoder:
    config, tensors = (directory / file for file in _names(name))
    description, state = read_config(config), load_tensors(tensors)
    if not trust:  # shapes are compared with the file's before memory is taken
        with torch.device("meta"):
            _check(_build(description, config, trust), state, tensors)
    prior = _build(description, config, trust)
    _check(prior, state, tensors)
    prior.load_state_dict(state)
    return prior.eval()


def _check(prior: StreamCoder, state: dict[str, Tensor], path: Path) -> None:
    """CodecError unless the tensors are the prior's; small integers may stand for its floats."""
    expected, alike = prior.state_dict(), dict(state)
    for name in expected.keys() & state.keys():
        if state[name].dtype in SMALL:
            alike[name] = torch.empty_like(state[name], dtype=expected[name].dtype, device="meta")
    check_state(expected, alike, str(path))


def _compact(values: Tensor) -> Tensor:
    """The same numbers in the narrowest integers that hold them; others, and what is none already, as they are."""
    if not values.numel() or values.dtype == torch.uint8:
        return values
    if values.is_floating_point() and not bool((values == values.round()).all() and values.abs().amax() < 2**31):
        return values
    low, high = int(values.amin()), int(values.amax())
    fitting = [kind for kind in SMALL if torch.iinfo(kind).min <= low and high <= torch.iinfo(kind).max]
    return values.to(fitting[0]) if fitting else values


def _build(description: Any, config: Path, trust: bool) -> StreamCoder:
    from jsonargparse import ArgumentError, ArgumentParser

    with import_policy(trust):
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(StreamCoder, "prior")
        try:
            parsed = parser.parse_object({"prior": description})
            prior: StreamCoder = parser.instantiate_classes(parsed).prior
            return prior
        except (ArgumentError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:400]
            raise CodecError(
                f"{config} was refused ({reason}); if it names classes of your own, say --trust"
            ) from error


def _names(prior: str) -> tuple[str, str]:
    return f"prior-{prior}.yaml", f"prior-{prior}.safetensors"
