"""Objectives of generative decoders: to denoise (https://arxiv.org/abs/2210.02747), and to do so in fewer steps."""

from abc import abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from neuralcodecs.codec import Codec, Quantized
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.frozen import Outside
from neuralcodecs.pretrained import fingerprint, load
from neuralcodecs.sampling import Sampled
from neuralcodecs.training.adversary import Adversary
from neuralcodecs.training.objectives import Objective, quantization_terms
from neuralcodecs.training.terms import Output, Term, Terms


class Generative(Objective):
    """Trains a decoder by losses of its own on what it is to make and the quantized latents of that.

    Nothing is decoded, so no output is there to be judged: losses of signals and adversaries belong to ``Reconstruct``.

    Args:
        quantization: weights of the quantizer's losses by name; a loss that is not named has weight 1.
    """

    def __init__(self, quantization: dict[str, float] | None = None) -> None:
        super().__init__()
        self.quantization = dict(quantization or {})

    def check(self, codec: Codec, adversary: Adversary | None) -> None:
        name = type(self).__name__
        if codec.decoder.sampling is None:
            raise CodecError(
                f"{type(codec.decoder).__name__} is deterministic, and {name} trains generative decoders: "
                "use Reconstruct, or a FlowDecoder"
            )
        if adversary is not None:
            raise CodecError(
                f"an adversary judges decoded signals, and {name} decodes none: leave the adversary out, or train a "
                "deterministic decoder by Reconstruct"
            )
        if not any(parameter.requires_grad for parameter in codec.decoder.parameters()):
            raise CodecError(f"{name} trains the decoder, and the stage freezes it: take it out of freeze")

    @abstractmethod
    def losses(self, codec: Codec, signal: Float[Tensor, "b c *space"], quantized: Quantized) -> dict[str, Tensor]:
        """The decoder's own losses by name."""

    def forward(
        self, codec: Codec, signal: Float[Tensor, "b c *space"], levels: int, captions: Sequence[bytes] = ()
    ) -> tuple[Terms, Output, dict[str, Tensor]]:
        scaled, quantized = codec.analyse(signal, levels, captions)
        terms = {name: Term(value, 1.0) for name, value in self.losses(codec, scaled, quantized).items()}
        return terms | quantization_terms(quantized, self.quantization), Output.of(scaled), quantized.statistics


class Denoise(Generative):
    """Predict what noisy signals are made of, given the codes; encoder and quantizer frozen (``Stage``) or with it."""

    def losses(self, codec: Codec, signal: Float[Tensor, "b c *space"], quantized: Quantized) -> dict[str, Tensor]:
        return codec.decoder.loss(signal, quantized.latents)


class Distill(Generative):
    """Learn to go in one step where a trained decoder goes in two, guided (https://arxiv.org/abs/2506.13053, 3.5).

    A student starts from the teacher's weights (``Stage``: ``load_from`` the same run) and learns the guidance as an
    input (``Embedded``). Encoder and quantizer are frozen: both must see the same codes.

    Args:
        teacher: checkpoint, run or exported folder of the trained codec; it stays out of this run's checkpoints.
        span: the shortest and the longest step, as shares of the way from noise to data. A student is not told how long
            its step is: with both 1 / n it learns n steps alone, and those best.
        guidance: range of the scales, drawn evenly; ``[1, 1]`` for a student without guidance.
        quantization: as for every generative objective.
    """

    def __init__(
        self,
        teacher: str,
        span: tuple[float, float] = (0.0, 0.3),
        guidance: tuple[float, float] = (1.0, 3.0),
        quantization: dict[str, float] | None = None,
    ) -> None:
        super().__init__(quantization)
        if not 0 <= span[0] <= span[1] <= 1 or span[1] == 0:
            raise CodecError(f"span {span}: give the shortest and the longest step, from 0 to 1")
        if not 0 <= guidance[0] <= guidance[1]:
            raise CodecError(f"guidance {guidance}: give the smallest and the largest scale, at least 0")
        codec = load(teacher)
        self.teacher, self.identity = teacher, fingerprint(codec)
        self.span, self.guidance = (span[0], span[1]), (guidance[0], guidance[1])
        self.outside = Outside(codec.decoder)

    def check(self, codec: Codec, adversary: Adversary | None) -> None:
        super().check(codec, adversary)
        if self.guidance != (1.0, 1.0) and not codec.decoder.embeds_guidance:
            raise CodecError(
                f"guidance {self.guidance} is to be distilled, and the student's network does not take it: "
                "give its sampler the guidance Embedded, or distill [1, 1]"
            )
        learning = any(p.requires_grad for part in (codec.encoder, codec.quantizer) for p in part.parameters())
        if learning or fingerprint(codec) != self.identity:
            raise CodecError(
                f"the codes are not those of the teacher {self.teacher}: let the stage load_from it and freeze encoder "
                "and quantizer"
            )

    def losses(self, codec: Codec, signal: Float[Tensor, "b c *space"], quantized: Quantized) -> dict[str, Tensor]:
        teacher: Sampled = self.outside.network  # type: ignore[assignment]
        return codec.decoder.follow(teacher, signal, quantized.latents, self.span, self.guidance)
