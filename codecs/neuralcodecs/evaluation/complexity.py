"""How much arithmetic a codec costs: multiply-accumulates and parameters of its encoder and decoder.

Counted by torch's FlopCounterMode (1 MAC = 2 FLOP) on weights without memory, so any codec is counted on
any machine. Convolutions, matrix products, attention and recurrent layers count; additions, norms, activations and the
quantizer do not.
"""

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from neuralcodecs.codec import Codec
from neuralcodecs.criteria import MetricFailure
from neuralcodecs.pieces import extent


@dataclass(frozen=True)
class Complexity:
    """``macs`` are per unit of the medium's extent: per pixel of a picture, per second of sound (all channels)."""

    encoder_macs: float
    decoder_macs: float
    encoder_parameters: int
    decoder_parameters: int
    quantizer_parameters: int


@torch.no_grad()
def complexity(codec: Codec, shape: tuple[int, ...]) -> Complexity:
    """Cost of a signal of ``shape`` (its axes after the channels), cut in pieces where the codec cuts.

    Attention makes it depend on the shape; padding makes it larger where the shape is no multiple of the strides.
    Raises MetricFailure for parts that cannot run without values (that read a tensor back, for example).
    """
    encoder, decoder = _without_memory(codec.encoder), _without_memory(codec.decoder)
    totals = [0, 0]
    for piece, count in Counter(extent(box) for box in codec.pieces(shape)).items():
        signal = torch.empty(1, codec.encoder.channels, *piece, device="meta")
        latents, encoding = _macs(encoder, signal)
        _, decoding = _macs(decoder, latents)
        totals = [totals[0] + count * encoding, totals[1] + count * decoding]
    size = codec.medium.extent(shape)
    parameters = (_parameters(part) for part in (codec.encoder, codec.decoder, codec.quantizer))
    return Complexity(totals[0] / size, totals[1] / size, *parameters)


def _macs(module: nn.Module, x: Tensor) -> tuple[Tensor, int]:
    # the fused attention kernels differ between devices, their plain form is counted everywhere
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), _Recurrent() as recurrent:
        try:
            output = module(x)
        except RuntimeError as error:
            raise MetricFailure(f"{type(module).__name__} cannot be counted: {str(error).splitlines()[0]}") from error
    return output, counter.get_total_flops() // 2 + recurrent.macs


class _Recurrent(TorchFunctionMode):
    """Counts LSTMs by their weights: without memory torch takes them apart step by step, seconds for one of sound."""

    macs = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        packed = func is torch.lstm and isinstance(args[1], Tensor)  # steps of several lengths, rarely met
        if func is not torch.lstm or packed:
            return func(*args, **(kwargs or {}))
        x, (hidden, cell), weights, *_, bidirectional, _ = args
        positions = x[..., 0].numel()
        self.macs += positions * sum(weight.numel() for weight in weights if weight.ndim == 2)
        return x.new_empty(*x.shape[:-1], (1 + bidirectional) * hidden.shape[-1]), hidden, cell


def _without_memory(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode on the meta device, made without copying a weight."""
    memo: dict[int, Tensor] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.detach().to("meta")
    return copy.deepcopy(module, memo).eval()


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
