"""Levels for a wanted bitrate: by what codes cost nominally, or, where that says nothing, by what files take.

Codecs that code their main stream themselves (a hyperprior) have one alphabet at all levels and files of every size:
the level is found for each signal, by encoding it a few times.
"""

import io
import math
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from neuralcodecs.bitstream.header import MAIN_STREAM
from neuralcodecs.codec import Codec
from neuralcodecs.codes import Codes
from neuralcodecs.errors import CodecError
from neuralcodecs.files import encode_signals


def nominal_rates(codec: Codec) -> list[float]:
    """Nominal bitrate in the medium's unit at 1, 2 ... levels, side streams not counted."""
    strides = codec.encoder.strides
    positions = math.prod(codec.encoder.frames(strides))  # one for a convolutional encoder, K for a tile of K tokens
    alphabets = map(codec.quantizer.alphabet, range(1, codec.quantizer.most_levels + 1))
    return [codec.medium.bitrate(positions * sum(map(math.log2, sizes)), strides) for sizes in alphabets]


def levels_for(codec: Codec, bitrate: float) -> int:
    """The most levels whose nominal bitrate is at most ``bitrate``; raises CodecError when even one is above it."""
    rates = nominal_rates(codec)
    fitting = [levels for levels, rate in enumerate(rates, 1) if rate <= bitrate * (1 + 1e-9)]
    if not fitting:
        raise CodecError(f"bitrate {bitrate:g}: this codec starts at {rates[0]:.3g} {codec.medium.unit}")
    return fitting[-1]


def varies(codec: Codec) -> bool:
    """Whether only a file says what a level costs."""
    return MAIN_STREAM in codec.quantizer.coders()


def levels_written(
    codec: Codec, signal: Float[Tensor, "c *space"], bitrate: float, put: Callable[[io.BytesIO, Codes], None]
) -> int:
    """The most levels at which the file of this signal, its head included, takes at most ``bitrate``.

    ``put``: writes a file of codes (``put_codes``). About log2 of the number of levels are tried. Raises CodecError
    where even the lowest takes more.
    """
    shape = tuple(signal.shape[1:])

    def rate(levels: int) -> float:
        file = io.BytesIO()
        put(file, encode_signals(codec, [signal], levels)[0])
        return codec.medium.bitrate(8.0 * file.tell(), shape)

    lowest = rate(1)
    if lowest > bitrate:
        unit = codec.medium.unit
        raise CodecError(
            f"bitrate {bitrate:g}: with this model the file starts at {lowest:.3g} {unit}; it needs another"
        )
    fits, above = 1, codec.quantizer.most_levels + 1
    while above - fits > 1:
        middle = (fits + above) // 2
        fits, above = (middle, above) if rate(middle) <= bitrate else (fits, middle)
    return fits
