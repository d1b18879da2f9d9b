"""neuralcodecs: train, judge and use neural codecs and tokenizers that are composed in a config."""

from neuralcodecs.codec import Codec, Decoder, Encoder, Quantized, Quantizer
from neuralcodecs.codes import Codes, Stream
from neuralcodecs.errors import CodecError

__all__ = ["Codec", "CodecError", "Codes", "Decoder", "Encoder", "Quantized", "Quantizer", "Stream"]
__version__ = "0.1.0"
