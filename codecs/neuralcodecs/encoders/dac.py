"""DAC's encoder: strided convolutions with Snake activations (https://arxiv.org/abs/2306.06546, section 3.1)."""

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.snake import Snake, SnakeUnit, same
from neuralcodecs.layers.streamed import Chain, State, Streamed


class DACEncoder(Encoder):
    """Waveform ``(b, channels, t)`` to latents ``(b, dim, ceil(t / hop))``, hop being the product of the ratios.

        zeros up to a multiple of the hop -> Conv 7
        -> per ratio [SnakeUnit per dilation, Snake, Conv 2r / r, twice the channels] -> Snake -> Conv 3

    Not causal. Defaults: DAC 44.1 kHz. DAC 24 and 16 kHz: ``ratios=(8, 5, 4, 2)``.

    Args:
        channels: of the waveform.
        dim: of the latents.
        filters: channels after the first convolution.
        ratios: stride of each stage in the order of the decoder, whose argument this is too; used in reverse here.
        dilations: one residual unit per entry in every stage.

    Raises:
        CodecError: a ratio is below 1, or there is none.
    """

    def __init__(
        self,
        channels: int = 1,
        dim: int = 1024,
        filters: int = 64,
        ratios: tuple[int, ...] = (8, 8, 4, 2),
        dilations: tuple[int, ...] = (1, 3, 9),
    ) -> None:
        super().__init__()
        if not ratios or min(ratios) < 1:
            raise CodecError(f"ratios {ratios}: give one stride of at least 1 per stage")
        self.channels, self.dim, self.strides = channels, dim, (math.prod(ratios),)
        width = filters
        layers: list[Streamed] = [same(nn.Conv1d(channels, width, 7))]
        for ratio in reversed(ratios):
            units = [SnakeUnit(width, dilation) for dilation in dilations]
            downsample = same(nn.Conv1d(width, 2 * width, 2 * ratio, ratio))
            layers.append(Chain(*units, Snake(width), downsample))
            width *= 2
        layers += [Snake(width), same(nn.Conv1d(width, dim, 3))]
        self.layers = Chain(*layers)

    def forward(self, signal: Float[Tensor, "b c t"]) -> Float[Tensor, "b d n"]:
        return self.layers(F.pad(signal, (0, -signal.shape[-1] % self.strides[0])))

    def frames(self, shape: Shape) -> Shape:
        (length,) = shape
        return (-(-length // self.strides[0]),)

    def start(self, batch: int) -> State:
        return State(phase=(0,), parts=(self.layers.start(batch),))

    def step(self, x: Float[Tensor, "b c t"], state: State, last: bool) -> tuple[Float[Tensor, "b d n"], State]:
        """The state counts the samples of the frame that is not complete."""
        incomplete = (state.phase[0] + x.shape[-1]) % self.strides[0]
        if last:
            x = F.pad(x, (0, -incomplete % self.strides[0]))
        latents, inner = self.layers.step(x, state.parts[0], last)
        return latents, State(phase=(incomplete,), parts=(inner,))

    def reach(self, position: int) -> int:
        return self.layers.reach(position)
