"""neuralcodecs: train, judge and use neural codecs and tokenizers that are composed in a config."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuralcodecs.codec import Codec, Decoder, Encoder, Quantized, Quantizer
    from neuralcodecs.codes import Codes, Stream
    from neuralcodecs.errors import CodecError
    from neuralcodecs.pretrained import load

__all__ = ["Codec", "CodecError", "Codes", "Decoder", "Encoder", "Quantized", "Quantizer", "Stream", "load"]
__version__ = "0.1.0"

_HOMES = {"CodecError": "errors", "Codes": "codes", "Stream": "codes", "load": "pretrained"}


def __getattr__(name: str) -> Any:
    """Import on first use: torch takes seconds, and ``neuralcodecs info`` does without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'codec')}"), name)
