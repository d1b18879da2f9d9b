"""Codes refined by optimisation for one picture at a time: a slower encoder of the same files and decoders.

Iterative encoding of shallow decoders: https://arxiv.org/abs/2304.06244, section 4.3.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.codec import Codec
from neuralcodecs.codes import Codes, Stream
from neuralcodecs.errors import CodecError
from neuralcodecs.pieces import fit


def refined(codec: Codec, signal: Float[Tensor, "c *space"], levels: int | None = None, steps: int = 1000) -> Codes:
    """Codes of one signal that cost less, bits and squared error weighed as in training.

    Raises CodecError for a quantizer that cannot refine, and for codecs with a segmenter or a scaler.
    """
    if codec.segmenter is not None or codec.scaler is not None:
        raise CodecError("codes of a codec with a segmenter or a scaler are not refined: encode without --refine")
    if steps < 1:
        raise CodecError(f"{steps} steps of refinement: give at least 1")
    levels = codec.check_levels(levels)
    shape = tuple(signal.shape[1:])
    target = signal[None].to(codec.device)

    def distortion(latents: Tensor) -> Tensor:
        return (fit(codec.decoder(latents), shape) - target).square().mean(dim=1).sum() * 255**2 / 4

    with torch.no_grad():
        latents = codec.encoder(target)
    values = codec.quantizer.refine(latents, distortion, steps, levels)
    layouts = codec.layouts(shape, levels)
    streams = [
        Stream(layout.name, value, layout.alphabet, (tuple(value.shape[2:]),))
        for layout, value in zip(layouts, values, strict=True)
    ]
    return Codes(tuple(streams), (shape,))
