"""What all conversions share: loading weights under our names, and refusing what no published model has."""

from collections.abc import Mapping

from torch import Tensor, nn

from neuralcodecs.codec import Codec
from neuralcodecs.errors import CodecError


def load_network(codec: Codec, weights: Mapping[str, Tensor]) -> None:
    """Copy weights named ``encoder.*`` and ``decoder.*`` into the codec; other names are left out.

    Raises:
        CodecError: a weight is missing, left over, or of another shape.
    """
    for part, name in ((codec.encoder, "encoder."), (codec.decoder, "decoder.")):
        load(part, {k.removeprefix(name): v for k, v in weights.items() if k.startswith(name)})


def load(part: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy all weights of a part. Raises CodecError naming the first that does not fit."""
    try:
        part.load_state_dict(weights)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip()
        raise CodecError(f"these weights are not those of a {type(part).__name__}: {detail}") from error


def require(name: str, value: object, needed: object) -> None:
    """Raises CodecError when a setting of the published model is not the only one that can be converted."""
    if value != needed:
        raise CodecError(f"cannot convert a model with {name} {value}: only {needed}")
