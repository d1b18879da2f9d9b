"""SEANet decoder of EnCodec: the encoder mirrored, upsampling (https://arxiv.org/abs/2210.13438, section 3.1)."""

import math
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Decoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import (
    ELU,
    Chain,
    Conv,
    Norm,
    PadMode,
    ResidualLSTM,
    ResidualUnit,
    State,
    Streamed,
    TransposedConv,
    keep_variance,
)

OUTPUT_GAIN = 0.1
"""Of the last convolution: fresh decoders are no louder than speech, and need not unlearn noise first."""


class SEANetDecoder(Decoder):
    """Latents ``(b, dim, n)`` to a waveform ``(b, channels, n * hop)``; its last samples are the encoder's padding.

        Conv 7 -> LSTM -> per ratio [ELU, TransposedConv 2r / r, half the channels, ResidualUnit per dilation]
        -> ELU -> Conv (no activation after it)

    Args:
        dim: of the latents.
        channels: of the waveform.
        strides: samples per latent, ``(hop,)``; the product of the ratios must be equal.
        filters, ratios, causal, norm, pad_mode, lstm_layers, dilations, true_skip, last_kernel: as for
            ``SEANetEncoder``, in the same order; equal ones make the decoder of that encoder.

    Raises:
        CodecError: the ratios do not multiply to the stride.
    """

    def __init__(
        self,
        dim: int,
        channels: int,
        strides: Shape,
        filters: int = 32,
        ratios: tuple[int, ...] = (8, 5, 4, 2),
        causal: bool = True,
        norm: Norm = "weight_norm",
        pad_mode: PadMode = "reflect",
        lstm_layers: int = 2,
        dilations: tuple[int, ...] = (1,),
        true_skip: bool = False,
        last_kernel: int = 7,
    ) -> None:
        super().__init__()
        if tuple(strides) != (math.prod(ratios),):
            raise CodecError(
                f"decoder ratios {ratios} multiply to {math.prod(ratios)}, the encoder's strides are {strides}: "
                "give both the same ratios"
            )
        conv = partial(Conv, causal=causal, pad_mode=pad_mode, norm=norm)
        width = filters * 2 ** len(ratios)
        layers: list[Streamed] = [conv(keep_variance(nn.Conv1d(dim, width, 7)))]
        if lstm_layers:
            layers.append(ResidualLSTM(width, lstm_layers))
        for ratio in ratios:
            upsample = keep_variance(nn.ConvTranspose1d(width, width // 2, 2 * ratio, ratio))
            layers += [ELU(), TransposedConv(upsample, causal=causal, norm=norm)]
            width //= 2
            layers += [ResidualUnit(width, conv, dilation, true_skip) for dilation in dilations]
        layers += [ELU(), conv(keep_variance(nn.Conv1d(width, channels, last_kernel), OUTPUT_GAIN))]
        self.layers = Chain(*layers)

    def forward(self, latents: Float[Tensor, "b d n"]) -> Float[Tensor, "b c t"]:
        return self.layers(latents)

    def start(self, batch: int) -> State:
        return self.layers.start(batch)

    def step(self, x: Float[Tensor, "b d t"], state: State, last: bool) -> tuple[Float[Tensor, "b c n"], State]:
        return self.layers.step(x, state, last)

    def reach(self, position: int) -> int:
        return self.layers.reach(position)
