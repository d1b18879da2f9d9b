"""Two quantizers side by side on the same latents: Mimi's split RVQ (https://arxiv.org/abs/2410.00037, 3.3.3)."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from neuralcodecs.codec import Quantized, Quantizer, QuantizerFactory
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.distributed import idle
from neuralcodecs.quantizers.numerics import checked_levels


class Split(Quantizer):
    """The sum of what two quantizers make of the latents; codes of the first come first.

        latents --+--semantic--> +
                  +--acoustic--> + -- quantized latents

    Neither sees what the other leaves over, so that the first need not serve the waveform. In Mimi both are
    ``Projected(code_dim=256, bias=False)`` of a ``ResidualVQ``, with 1 and 31 codebooks, and the first is distilled
    from a speech model. Losses are means over the codebooks in use.

    Args:
        dim: channels of the latents.
        semantic: called with ``dim``; all of its codebooks are always in use.
        acoustic: called with ``dim``; gives up its last codebooks at fewer levels, then all.
        levels: numbers of codebooks that the codec runs at, ascending; None for only all of them. The last is the
            default and may be less than all.

    Raises:
        CodecError: levels do not ascend, or go below the semantic codebooks or beyond all.
    """

    made_by_codec = {"semantic": ("dim",), "acoustic": ("dim",)}

    def __init__(
        self,
        dim: int,
        semantic: QuantizerFactory,
        acoustic: QuantizerFactory,
        levels: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.semantic = semantic(dim)
        self.acoustic = acoustic(dim)
        self.codebook_sizes = self.semantic.codebook_sizes + self.acoustic.codebook_sizes
        self.first = len(self.semantic.codebook_sizes)
        available = len(self.codebook_sizes)
        self.levels = (available,) if levels is None else tuple(levels)
        ascending = [*self.levels] == sorted({*self.levels}) and bool(self.levels)
        if not ascending or not self.first <= self.levels[0] <= self.levels[-1] <= available:
            raise CodecError(f"levels {self.levels} must ascend within {self.first} to {available}")

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        further = self._further(levels)
        semantic = self.semantic(latents)
        if not further:
            return semantic._replace(latents=semantic.latents + idle([self.acoustic])) if self.training else semantic
        acoustic = self.acoustic(latents, further)
        share = self.first / (self.first + further)
        losses = {name: share * loss for name, loss in semantic.losses.items()}
        for name, loss in acoustic.losses.items():
            losses[name] = losses.get(name, 0) + (1 - share) * loss
        both = semantic.statistics.keys() & acoustic.statistics.keys()
        statistics = {name: torch.cat([semantic.statistics[name], acoustic.statistics[name]]) for name in sorted(both)}
        codes = torch.cat([semantic.codes, acoustic.codes], dim=1)
        return Quantized(semantic.latents + acoustic.latents, codes, losses, statistics)

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        further = self._further(levels)
        semantic = self.semantic.encode(latents)
        return torch.cat([semantic, self.acoustic.encode(latents, further)], dim=1) if further else semantic

    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        semantic = self.semantic.decode(codes[:, : self.first])
        if not self._further(codes.shape[1]):
            return semantic
        return semantic + self.acoustic.decode(codes[:, self.first :])

    @property
    def settled(self) -> bool:
        return self.semantic.settled and self.acoustic.settled

    def widen(self, paths: int) -> None:
        """Of the acoustic one; what the semantic codes mean is not bargained with."""
        self.acoustic.widen(paths)

    def update(self) -> None:
        self.semantic.update()
        self.acoustic.update()

    def discard(self) -> None:
        self.semantic.discard()
        self.acoustic.discard()

    def _further(self, levels: int | None) -> int:
        """How many acoustic codebooks are in use."""
        levels = checked_levels(levels, len(self.codebook_sizes))
        if levels < self.first:
            raise CodecError(f"{levels} levels asked for, this quantizer has {self.first} that are always in use")
        return levels - self.first
