"""A residual stack of any quantizer: residual FSQ, residual LFQ, DAC's factorised RVQ, and what users bring."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuralcodecs.codec import Quantized, Quantizer, QuantizerFactory
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.distributed import idle
from neuralcodecs.quantizers.numerics import at_least_float32, checked_levels, straight_through


class ResidualStack(Quantizer):
    """Each stage quantizes what the stages before it have left over; the quantized latents are the sum of all.

    Stage k works on ``residual / shrink ** k``, in its own unit, and its output is scaled back. The codes are those of
    all stages, one after the other, so that fewer levels are a prefix of more. Losses are the mean over the stages in
    use, each in its own unit; statistics are those of all stages.

    Published systems:
        residual FSQ   ``SymmetricFSQ`` with L values per channel, shrink 1 / L, bound L / (L - 1)
        residual LFQ   ``GroupedLFQ``, shrink 0.5 (vector-quantize-pytorch)
        DAC            ``Projected(code_dim=8)`` of ``CosineVQ``, detach_residuals false

    Args:
        dim: channels of the latents.
        quantizer: called with ``dim``, once per stage.
        depth: number of stages.
        levels: the numbers of codebooks to be trained and run at, ascending, the last being all of
            them; None for only that.
        shrink: the expected size of a stage's residual, relative to its input.
        bound: squash the latents softly into +-bound first, by ``bound * tanh(x / bound)``; None leaves them.
        detach_residuals: with true, residuals keep the latents' own gradient, so that the losses of all stages reach
            the encoder, and one straight-through spans the stack (EnCodec as corrected in AudioCraft). With false, the
            gradient follows the stages' own outputs: for stages whose projections learn from the decoder (DAC).
    """

    made_by_codec = {"quantizer": ("dim",)}

    def __init__(
        self,
        dim: int,
        quantizer: QuantizerFactory,
        depth: int,
        levels: tuple[int, ...] | None = None,
        shrink: float = 1.0,
        bound: float | None = None,
        detach_residuals: bool = True,
    ) -> None:
        super().__init__()
        if depth < 1 or not 0 < shrink <= 1 or (bound is not None and bound <= 0):
            raise CodecError(f"depth {depth} must be 1 or more, shrink {shrink} in (0, 1], bound {bound} positive")
        self.dim = dim
        self.shrink = shrink
        self.bound = bound
        self.detach_residuals = detach_residuals
        stages = [quantizer(dim) for _ in range(depth)]
        self.stages = nn.ModuleList(stages)
        self.per_stage = len(stages[0].codebook_sizes)
        self.codebook_sizes = stages[0].codebook_sizes * depth
        available = len(self.codebook_sizes)
        self.levels = (available,) if levels is None else tuple(levels)
        if [*self.levels] != sorted({*self.levels, available}) or self.levels[0] < 1:
            raise CodecError(f"levels {self.levels} must ascend from 1 or more to the number of codebooks, {available}")

    @property
    def quantizer(self) -> nn.Module:
        """The first stage: the others are made alike, so it describes them all."""
        return self.stages[0]

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        start = self._bounded(latents)
        residual, total = start, torch.zeros_like(start)
        parts: list[Quantized] = []
        for stage, scale, used in self._plan(levels):
            part: Quantized = stage(residual / scale, used)
            quantized = part.latents * scale
            residual = residual - (quantized.detach() if self.detach_residuals else quantized)
            total = total + quantized
            parts.append(part)
        losses = {name: torch.stack([part.losses[name] for part in parts]).mean() for name in parts[0].losses}
        statistics = {name: torch.cat([part.statistics[name] for part in parts]) for name in parts[0].statistics}
        output = straight_through(start, total) if self.detach_residuals else total
        if self.training:
            output = output + idle(self.stages[len(parts) :])
        return Quantized(output, torch.cat([part.codes for part in parts], dim=1), losses, statistics)

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        residual = self._bounded(latents)
        codes = []
        for stage, scale, used in self._plan(levels):
            codes.append(stage.encode(residual / scale, used))
            residual = residual - stage.decode(codes[-1]) * scale
        return torch.cat(codes, dim=1)

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        total = torch.zeros((), device=codes.device)
        plan = self._plan(codes.shape[1])
        for part, (stage, scale, _) in zip(codes.split(self.per_stage, dim=1), plan, strict=True):
            total = total + stage.decode(part) * scale
        return total

    @property
    def settled(self) -> bool:
        return all(stage.settled for stage, _, _ in self._plan(None))

    def update(self) -> None:
        for stage, _, _ in self._plan(None):
            stage.update()

    def discard(self) -> None:
        for stage, _, _ in self._plan(None):
            stage.discard()

    def _bounded(self, latents: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b d *grid"]:
        latents = at_least_float32(latents)
        return latents if self.bound is None else self.bound * torch.tanh(latents / self.bound)

    def _plan(self, levels: int | None) -> Iterator[tuple[Quantizer, float, int]]:
        """Stages in use, their scale, and how many of their codebooks."""
        left = checked_levels(levels, len(self.codebook_sizes))
        for index, stage in enumerate(self.stages):
            if left <= 0:
                return
            yield stage, self.shrink**index, min(left, self.per_stage)  # type: ignore[misc]
            left -= self.per_stage
