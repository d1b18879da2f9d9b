"""Frames back to speech: ``FramedEncoder`` mirrored, ending in learned overlapping synthesis filters."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Decoder
from neuralcodecs.codes import Shape
from neuralcodecs.encoders.framed import stages_of
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import Chain, Conv, State, Streamed, TransposedConv, keep_variance
from neuralcodecs.layers.depthwise import ChannelNorm, DepthwiseUnit

OUTPUT_GAIN = 0.1
"""Of the synthesis filters: fresh decoders are no louder than speech."""


class FramedDecoder(Decoder):
    """Latents ``(b, dim, n)`` to a waveform ``(b, channels, n * hop)``.

        Conv 3 to the last width -> per stage from the last [units, ChannelNorm, TransposedConv 2s / s]

    The synthesis filters overlap by one hop of the first stage, by which the decoder looks ahead; the rest is causal.

    Args:
        dim: of the latents.
        channels: of the waveform.
        strides: samples per latent, ``(hop,)``; the product of the hops must be equal.
        hops, widths, units: of the stages, in the encoder's order.

    Raises:
        CodecError: the hops do not multiply to the stride, or the stages are not told consistently.
    """

    def __init__(
        self,
        dim: int,
        channels: int,
        strides: Shape,
        hops: tuple[int, ...] = (80, 4),
        widths: tuple[int, ...] = (256, 384),
        units: tuple[int, ...] = (4, 4),
    ) -> None:
        super().__init__()
        if tuple(strides) != (math.prod(hops),):
            raise CodecError(f"decoder hops {hops} multiply to {math.prod(hops)}, the encoder's strides are {strides}")
        stages = stages_of(hops, widths, units)
        layers: list[Streamed] = [Conv(keep_variance(nn.Conv1d(dim, widths[-1], 3)), causal=True)]
        following = [channels, *widths[:-1]]
        for stage, width in reversed(list(zip(stages, following, strict=True))):
            layers += [DepthwiseUnit(stage.width) for _ in range(stage.units)]
            layers.append(ChannelNorm(stage.width))
            up = nn.ConvTranspose1d(stage.width, width, 2 * stage.hop, stage.hop)
            last = stage is stages[0]
            gain, trim = (OUTPUT_GAIN, 0.0) if last else (1.0, 1.0)
            layers.append(TransposedConv(keep_variance(up, gain), causal=True, trim_right_ratio=trim))
        self.layers = Chain(*layers)

    def forward(self, latents: Float[Tensor, "b d n"]) -> Float[Tensor, "b c t"]:
        return self.layers(latents)

    def start(self, batch: int) -> State:
        return self.layers.start(batch)

    def step(self, x: Float[Tensor, "b d n"], state: State, last: bool) -> tuple[Float[Tensor, "b c t"], State]:
        return self.layers.step(x, state, last)

    def reach(self, position: int) -> int:
        return self.layers.reach(position)
