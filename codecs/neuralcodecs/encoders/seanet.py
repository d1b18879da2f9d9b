"""SEANet encoder of EnCodec: strided convolutions and an LSTM (https://arxiv.org/abs/2210.13438, section 3.1)."""

import math
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Encoder
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
    keep_variance,
)


class SEANetEncoder(Encoder):
    """Waveform ``(b, channels, t)`` to latents ``(b, dim, ceil(t / hop))``, hop being the product of the ratios.

        Conv 7 -> per ratio [ResidualUnit per dilation, ELU, Conv 2r / r, twice the channels] -> LSTM -> ELU -> Conv

    Defaults: EnCodec 24 kHz. EnCodec 48 kHz: ``channels=2, causal=False, norm="time_group_norm"``.
    AudioCraft: ``true_skip=True, pad_mode="constant"``. Fresh weights keep the variance of the signal
    (``layers.initialisation``), where the published code leaves torch's own.

    Args:
        channels: of the waveform.
        dim: of the latents.
        filters: channels after the first convolution.
        ratios: stride of each stage in the order of the decoder, whose arguments these are too; used in reverse here.
        causal: no look-ahead (but for the first windows of ``reflect``, see ``Conv``).
        norm: of every convolution.
        pad_mode: what the padding of every convolution holds.
        lstm_layers: 0 leaves the LSTM out.
        dilations: one residual unit per entry in every stage.
        true_skip: residual units add their input itself instead of its 1x1 convolution.
        last_kernel: kernel of the last convolution; 7, in Mimi 3.
    """

    def __init__(
        self,
        channels: int = 1,
        dim: int = 128,
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
        if not ratios or min(ratios) < 1:
            raise CodecError(f"ratios {ratios}: give one stride of at least 1 per stage")
        self.channels, self.dim, self.strides = channels, dim, (math.prod(ratios),)
        conv = partial(Conv, causal=causal, pad_mode=pad_mode, norm=norm)
        width = filters
        layers: list[Streamed] = [conv(keep_variance(nn.Conv1d(channels, width, 7)))]
        for ratio in reversed(ratios):
            layers += [ResidualUnit(width, conv, dilation, true_skip) for dilation in dilations]
            layers += [ELU(), conv(keep_variance(nn.Conv1d(width, 2 * width, 2 * ratio, ratio)))]
            width *= 2
        if lstm_layers:
            layers.append(ResidualLSTM(width, lstm_layers))
        layers += [ELU(), conv(keep_variance(nn.Conv1d(width, dim, last_kernel)))]
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
