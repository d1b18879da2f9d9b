"""Published models as codecs of this package, with their exact codes; one file per published system."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from neuralcodecs.codec import Codec
from neuralcodecs.convert import dac, encodec, mimi
from neuralcodecs.convert.autoencoder_kl import from_autoencoder_kl
from neuralcodecs.convert.dac import from_descript
from neuralcodecs.convert.encodec import from_encodec
from neuralcodecs.convert.vocos import decoder_from_vocos, from_vocos
from neuralcodecs.errors import CodecError

__all__ = [
    "decoder_from_vocos",
    "from_autoencoder_kl",
    "from_descript",
    "from_encodec",
    "from_transformers",
    "from_vocos",
    "import_published",
]

_FROM_TRANSFORMERS: dict[str, Callable[[nn.Module], Codec]] = {
    "dac": dac.from_transformers,
    "encodec": encodec.from_transformers,
    "mimi": mimi.from_transformers,
}
"""By the model type that the library itself gives."""


def from_transformers(model: nn.Module) -> Codec:
    """A model of the transformers library as a codec with the same codes and, but for rounding, the same output.

    Known: ``DacModel``, ``EncodecModel``, ``MimiModel``. The codec is in evaluation mode, on the CPU, and shares no
    memory with the model.

    Raises:
        CodecError: the model is of another kind, or set up in a way that no published model is and ours cannot be.
    """
    config: Any = model.config
    convert = _FROM_TRANSFORMERS.get(config.model_type)
    if convert is None:
        known = ", ".join(_FROM_TRANSFORMERS)
        raise CodecError(f"cannot convert a transformers model of type {config.model_type!r}: only {known}")
    return convert(model)


def import_published(source: str) -> Codec:
    """A model by hub id or local folder in the layout of the transformers library, which must be installed; or an
    ``AutoencoderKL`` in a local folder in that of the diffusers library, which need not be.

    Raises:
        CodecError: it cannot be had, or not converted.
    """
    if _is_autoencoder_kl(Path(source) / "config.json"):
        return from_autoencoder_kl(Path(source))
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise CodecError("import needs the transformers library: pip install 'neuralcodecs[bench]'") from error
    try:
        model = AutoModel.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise CodecError(f"{source} cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    return from_transformers(model)


def _is_autoencoder_kl(config: Path) -> bool:
    try:
        return json.loads(config.read_text(encoding="utf-8")).get("_class_name") == "AutoencoderKL"
    except (OSError, ValueError, AttributeError):
        return False  # for the transformers library to judge
