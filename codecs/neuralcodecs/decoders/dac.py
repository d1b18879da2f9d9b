"""DAC's decoder: transposed convolutions with Snake activations (https://arxiv.org/abs/2306.06546, section 3.1)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Decoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.snake import Snake, SnakeUnit, Upsample, same
from neuralcodecs.layers.streamed import Chain, State, Streamed


class DACDecoder(Decoder):
    """Latents ``(b, dim, n)`` to a waveform ``(b, channels, n * hop)`` within (-1, 1).

        Conv 7 -> per ratio [Snake, Upsample 2r / r, half the channels, SnakeUnit per dilation]
        -> Snake -> Conv 7 -> tanh

    Odd ratios lose a position each (``Upsample``), as in the published code: with ``(8, 5, 4, 2)`` the last 8
    samples are missing there, and here repeat the one before.

    Args:
        dim: of the latents.
        channels: of the waveform.
        strides: samples per latent, ``(hop,)``; the product of the ratios must be equal.
        width: channels after the first convolution.
        ratios: stride of each stage.
        dilations: one residual unit per entry in every stage.

    Raises:
        CodecError: the ratios do not multiply to the stride, or the width cannot be halved so often.
    """

    def __init__(
        self,
        dim: int,
        channels: int,
        strides: Shape,
        width: int = 1536,
        ratios: tuple[int, ...] = (8, 8, 4, 2),
        dilations: tuple[int, ...] = (1, 3, 9),
    ) -> None:
        super().__init__()
        if tuple(strides) != (math.prod(ratios),):
            raise CodecError(
                f"decoder ratios {ratios} multiply to {math.prod(ratios)}, the encoder's strides are {strides}: "
                "give both the same ratios"
            )
        if width % 2 ** len(ratios):
            raise CodecError(
                f"width {width} cannot be halved {len(ratios)} times: give a multiple of {2 ** len(ratios)}"
            )
        self.missing = 0
        layers: list[Streamed] = [same(nn.Conv1d(dim, width, 7))]
        for ratio in ratios:
            units = [SnakeUnit(width // 2, dilation) for dilation in dilations]
            upsample = Upsample(width, width // 2, ratio)
            self.missing = self.missing * ratio + upsample.surplus
            layers.append(Chain(Snake(width), upsample, *units))
            width //= 2
        layers += [Snake(width), same(nn.Conv1d(width, channels, 7))]
        self.layers = Chain(*layers)

    def forward(self, latents: Float[Tensor, "b d n"]) -> Float[Tensor, "b c t"]:
        return self._complete(self.layers(latents))

    def start(self, batch: int) -> State:
        return self.layers.start(batch)

    def step(self, x: Float[Tensor, "b d n"], state: State, last: bool) -> tuple[Float[Tensor, "b c t"], State]:
        output, state = self.layers.step(x, state, last)
        return self._complete(output) if last and output.shape[-1] else torch.tanh(output), state

    def reach(self, position: int) -> int:
        return self.layers.reach(position)

    def _complete(self, output: Float[Tensor, "b c n"]) -> Float[Tensor, "b c t"]:
        return F.pad(torch.tanh(output), (0, self.missing), mode="replicate")
