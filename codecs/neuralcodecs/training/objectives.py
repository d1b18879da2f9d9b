"""What the codec is trained to do with a batch: the objective turns codec and signals into terms and an output."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Codec, Quantized
from neuralcodecs.criteria import Loss
from neuralcodecs.errors import CodecError
from neuralcodecs.training.adversary import Adversary
from neuralcodecs.training.terms import Output, Term, Terms
from neuralcodecs.training.tradeoff import Tradeoff


class Weighted(nn.Module):
    """A loss with its weight in the sum, or its share of the gradient under the balancer."""

    def __init__(self, loss: Loss, weight: float = 1.0) -> None:
        super().__init__()
        self.loss = loss
        self.weight = weight

    def term(self, output: Output, target: Tensor) -> Term:
        return Term(self.loss(output.leaf, target), self.weight, on_output=True)


class Together(Loss):
    """The weighted sum of several losses, in the place of one."""

    def __init__(self, losses: list[Weighted]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(losses)

    def forward(self, output: Float[Tensor, "b c *space"], target: Float[Tensor, "b c *space"]) -> Float[Tensor, ""]:
        parts = cast(Iterable[Weighted], self.parts)
        return torch.stack([part.weight * part.loss(output, target).float() for part in parts]).sum()


class Objective(nn.Module, ABC):
    """One way to train a codec."""

    @abstractmethod
    def check(self, codec: Codec, adversary: Adversary | None) -> None:
        """CodecError where it cannot train this codec, or not with this adversary (None: without one)."""

    @abstractmethod
    def forward(
        self, codec: Codec, signal: Float[Tensor, "b c *space"], levels: int, captions: Sequence[bytes] = ()
    ) -> tuple[Terms, Output, dict[str, Tensor]]:
        """Terms of the step, the output they judge, and statistics per codebook for the log.

        ``captions``: one of each item where the data has any; told to generative decoders only.
        """


class Reconstruct(Objective):
    """Decode what was encoded and compare; without any loss, an adversary alone judges the output (Mimi).

    Args:
        waveform: distance of samples or pixels.
        spectrum: distance of spectra.
        perceptual: distance of learned features.
        quantization: weights of the quantizer's losses by name; a loss that is not named has weight 1.
    """

    def __init__(
        self,
        waveform: Weighted | None = None,
        spectrum: Weighted | None = None,
        perceptual: Weighted | None = None,
        quantization: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        slots = {"waveform": waveform, "spectrum": spectrum, "perceptual": perceptual}
        self.losses: dict[str, Weighted] = {name: loss for name, loss in slots.items() if loss is not None}
        self._modules_of_losses = nn.ModuleDict(self.losses)
        self.quantization = dict(quantization or {})

    def check(self, codec: Codec, adversary: Adversary | None) -> None:
        _check_deterministic(self, codec)
        if not self.losses and adversary is None:
            raise CodecError(
                "nothing judges the output: give the objective a loss (waveform, spectrum, perceptual), or an adversary"
            )

    def forward(
        self, codec: Codec, signal: Float[Tensor, "b c *space"], levels: int, captions: Sequence[bytes] = ()
    ) -> tuple[Terms, Output, dict[str, Tensor]]:
        decoded, quantized = codec(signal, levels)
        output = Output.of(decoded)
        terms: Terms = {name: loss.term(output, signal) for name, loss in self.losses.items()}
        return terms | quantization_terms(quantized, self.quantization), output, quantized.statistics


class RateDistortion(Objective):
    """``lambda * 255^2 * MSE + bits per pixel`` for quantizers with a loss ``bits`` (https://arxiv.org/abs/1802.01436).

    Signals are in [-1, 1], MSE is that of [0, 1].

    Args:
        distortion: squared error of the signal.
        tradeoff: lambda for each level.
    """

    def __init__(self, distortion: Loss, tradeoff: Tradeoff) -> None:
        super().__init__()
        self.distortion = distortion
        self.tradeoff = tradeoff

    def check(self, codec: Codec, adversary: Adversary | None) -> None:
        _check_deterministic(self, codec)

    def forward(
        self, codec: Codec, signal: Float[Tensor, "b c *space"], levels: int, captions: Sequence[bytes] = ()
    ) -> tuple[Terms, Output, dict[str, Tensor]]:
        decoded, quantized = codec(signal, levels)
        if "bits" not in quantized.losses:
            raise CodecError(f"no rate to weigh: the quantizer has the losses {sorted(quantized.losses)}, not bits")
        output = Output.of(decoded)
        rate = quantized.losses["bits"] / math.prod(signal.shape[2:])
        worth = self.tradeoff(codec.quantizer.levels.index(levels) + 1, rate)
        distortion = self.distortion(output.leaf, signal) * (worth * 255**2 / 4)
        terms = {"distortion": Term(distortion, 1.0, on_output=True), "rate": Term(rate, 1.0)}
        return terms, output, quantized.statistics


def _check_deterministic(objective: Objective, codec: Codec) -> None:
    if codec.decoder.sampling is not None:
        raise CodecError(
            f"{type(objective).__name__} compares one output, and {type(codec.decoder).__name__} draws from many: "
            "use Denoise"
        )


def quantization_terms(quantized: Quantized, weights: dict[str, float]) -> Terms:
    """The quantizer's losses with their weights, 1 where none is given; CodecError for a weight without its loss."""
    unknown = set(weights) - set(quantized.losses)
    if unknown:
        raise CodecError(f"quantization weights {sorted(unknown)} name no loss; there are {sorted(quantized.losses)}")
    return {name: Term(value, weights.get(name, 1.0)) for name, value in quantized.losses.items()}
