"""Which codecs have codes that a language model can be given."""

from neuralcodecs.codec import Codec
from neuralcodecs.errors import CodecError


def check_suitable(codec: Codec) -> None:
    """Raises CodecError for codes that mean nothing without side streams of the quantizer, such as a hyperprior's."""
    if codec.sided:
        sides = ", ".join(
            layout.name for layout in codec.quantizer.side_streams(codec.encoder.frames(codec.encoder.strides))
        )
        raise CodecError(
            f"this codec's codes need its side streams ({sides}), which are no tokens: use a codec with codes alone"
        )
