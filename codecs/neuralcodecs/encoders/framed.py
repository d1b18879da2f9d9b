"""Speech in frames: learned filters of overlapping frames, then causal ConvNeXt units at ever lower rates.

A trunk that never sees the sample rate, as in TS3-Codec (https://arxiv.org/abs/2411.18803), with the units of Vocos
(https://arxiv.org/abs/2306.00814) in place of its Transformers.
"""

import math
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import Chain, Conv, State, Streamed, keep_variance
from neuralcodecs.layers.depthwise import ChannelNorm, DepthwiseUnit


class FramedEncoder(Encoder):
    """Waveform ``(b, channels, t)`` to latents ``(b, dim, ceil(t / hop))``, hop being the product of the strides.

        Conv 2s / s to the first width -> units -> per further stage [ChannelNorm, Conv 2s / s, units]
        -> ChannelNorm -> Conv 1

    Causal: a latent sees no sample after its hop.

    Args:
        channels: of the waveform.
        dim: of the latents.
        hops: stride of each stage, the first one in samples.
        widths: channels of each stage.
        units: ``DepthwiseUnit`` per stage.
        frame: samples that the first convolution sees, at least its stride; None: twice the stride.

    Raises:
        CodecError: the stages are not told consistently.
    """

    def __init__(
        self,
        channels: int = 1,
        dim: int = 64,
        hops: tuple[int, ...] = (80, 4),
        widths: tuple[int, ...] = (192, 320),
        units: tuple[int, ...] = (3, 3),
        frame: int | None = None,
    ) -> None:
        super().__init__()
        stages = stages_of(hops, widths, units)
        self.channels, self.dim, self.strides = channels, dim, (math.prod(hops),)
        layers: list[Streamed] = []
        width = channels
        for number, stage in enumerate(stages):
            kernel = frame if frame is not None and number == 0 else 2 * stage.hop
            if number:
                layers.append(ChannelNorm(width))
            layers.append(Conv(keep_variance(nn.Conv1d(width, stage.width, kernel, stage.hop)), causal=True))
            width = stage.width
            layers += [DepthwiseUnit(width) for _ in range(stage.units)]
        layers += [ChannelNorm(width), Conv(keep_variance(nn.Conv1d(width, dim, 1)))]
        self.layers = Chain(*layers)

    def forward(self, signal: Float[Tensor, "b c t"]) -> Float[Tensor, "b d n"]:
        return self.layers(signal)

    def frames(self, shape: Shape) -> Shape:
        (length,) = shape
        return (-(-length // self.strides[0]),)

    def start(self, batch: int) -> State:
        return self.layers.start(batch)

    def step(self, x: Float[Tensor, "b c t"], state: State, last: bool) -> tuple[Float[Tensor, "b d n"], State]:
        return self.layers.step(x, state, last)

    def reach(self, position: int) -> int:
        return self.layers.reach(position)


class FrameStage(NamedTuple):
    """One rate of the trunk."""

    hop: int
    width: int
    units: int


def stages_of(hops: tuple[int, ...], widths: tuple[int, ...], units: tuple[int, ...]) -> list[FrameStage]:
    """Raises CodecError unless the three tell the same number of stages, with hops and widths of at least 1."""
    if not hops or not len(hops) == len(widths) == len(units) or min(*hops, *widths) < 1 or min(units) < 0:
        raise CodecError(
            f"hops {hops}, widths {widths}, units {units}: give one of each per stage, at least 1, 1 and 0"
        )
    return [FrameStage(*stage) for stage in zip(hops, widths, units, strict=True)]
