"""Hyperprior: rounded latents whose means and scales travel as a side stream (https://arxiv.org/abs/1802.01436).

    latents * gain --HyperAnalysis--> z, rounded --HyperSynthesis--> features --ContextModel--> means, scale indices
    latents * gain - means, rounded --> codes;     (codes + means) / gain --> latents

Everything from z on is computed in exact integers, so that a file decodes on any device. One model has several rates by
a gain for each channel and level (https://arxiv.org/abs/2003.02012), and any rate between by gains between.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor, nn

from neuralcodecs.codec import Distortion, Quantized, Quantizer
from neuralcodecs.codes import Layout, Shape
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import Conv, DepthToSpace
from neuralcodecs.layers.exact import GRID, LIMIT, ExactConv, activation, exact, rounded
from neuralcodecs.quantizers.conditional import SYMBOLS, GaussianConditional
from neuralcodecs.quantizers.contexts import SHRINK, ContextModel, Part, Visit, grid_of
from neuralcodecs.quantizers.factorised import FactorisedPrior
from neuralcodecs.quantizers.hyper_coding import HALF, LatentCoder, SideCoder, Z
from neuralcodecs.quantizers.numerics import checked_levels
from neuralcodecs.quantizers.rounding import Rounding, anneal, noisy, whole
from neuralcodecs.stream_coder import StreamCoders

STRIDE = 4
"""Positions of the latents per position of z."""
MAIN, STEP = "codes", "step"
LOW, HIGH = float(-HALF), float(HALF - 1)
ContextFactory = Callable[[int, int], ContextModel]


class Hyper(Configured, nn.Module):
    """The networks of the side stream: latents to ``channels`` of a grid a quarter as fine, and back to features.

    Args:
        dim: channels of the latents.
        hidden: channels of the networks.
        channels: of the side stream.
        features: channels of what comes back.
    """

    def __init__(self, dim: int, hidden: int = 128, channels: int = 64, features: int = 128) -> None:
        super().__init__()
        self.channels, self.features = channels, features
        self.analysis = nn.Sequential(
            Conv(nn.Conv2d(dim, hidden, 3)),
            nn.ReLU(),
            Conv(nn.Conv2d(hidden, hidden, 5, stride=2)),
            nn.ReLU(),
            Conv(nn.Conv2d(hidden, channels, 5, stride=2)),
        )
        self.synthesis = nn.ModuleList(
            [ExactConv(channels, hidden * 4), ExactConv(hidden, hidden * 4), ExactConv(hidden, features)]
        )
        self.up = DepthToSpace()

    def back(self, z: Float[Tensor, "b z i j"], grid: Shape) -> Float[Tensor, "b f h w"]:
        """Features of rounded values, exact in evaluation."""
        first, second, last = self.synthesis
        x = activation(self.up(first(rounded(z / SHRINK, float(GRID), -LIMIT, LIMIT))))
        x = activation(self.up(second(x)))
        return activation(last(x[..., : grid[0], : grid[1]]))


class Hyperprior(Quantizer):
    """Scalar quantization of pictures' latents with a learned Gaussian for each value.

    Codes are the differences from the means, -512 to 511, as 0 to 1023; further ones are cut. Side streams: ``z``, and
    ``step``, which level (gain) was used. Loss ``bits``: of one item of the batch, all of its positions, estimated from
    uniform noise.

    Args:
        dim: channels of the latents.
        hyper: called with ``dim``.
        context: called with the features of ``hyper`` and ``dim``.
        gains: of each level, ascending: how much finer than 1 a step is. Each channel's own are learned from there.
        alphabet: values of ``z``.
        lambdas: of each level, what it was trained with: for refinement.
        between: steps from one gain to the next, the logarithms evenly spaced: with 5 gains and 16 steps, levels 1, 17,
            33, 49 and 65 are those that are trained and all of 1 to 65 can be encoded at. Part of the format.
    """

    made_by_codec = {"hyper": ("dim",), "context": ("features", "dim")}

    def __init__(
        self,
        dim: int,
        hyper: Callable[[int], Hyper],
        context: ContextFactory,
        gains: tuple[float, ...] = (1.0,),
        alphabet: int = 64,
        lambdas: tuple[float, ...] = (),
        between: int = 1,
    ) -> None:
        super().__init__()
        if between < 1:
            raise CodecError(f"between {between}: give 1 or more steps from one gain to the next")
        if not gains or min(gains) <= 0:
            raise CodecError(f"gains {tuple(gains)}: give one above 0 per level")
        if lambdas and len(lambdas) != len(gains):
            raise CodecError(f"{len(lambdas)} lambdas for {len(gains)} gains: give one each")
        self.dim, self.size, self.lambdas = dim, alphabet, tuple(lambdas)
        self.codebook_sizes = (SYMBOLS,) * dim
        self.between, self.levels = between, tuple(range(1, (len(gains) - 1) * between + 2, between))
        self.hyper = hyper(dim)
        self.context = context(self.hyper.features, dim)
        self.prior = FactorisedPrior(self.hyper.channels, alphabet)
        self.conditional = GaussianConditional()
        logs = torch.tensor(gains).log()[:, None].expand(-1, dim)
        self.gains, self.inverse_gains = nn.Parameter(logs.clone()), nn.Parameter(-logs)

    @property
    def most_levels(self) -> int:
        return self.levels[-1]

    def alphabet(self, levels: int) -> Shape:
        return self.codebook_sizes

    def side_streams(self, grid: Shape) -> tuple[Layout, ...]:
        coarse = grid_of(grid, STRIDE)
        return (
            Layout(Z, (self.size,) * self.hyper.channels, coarse),
            Layout(STEP, (self.most_levels,), (*(1 for _ in grid[1:]), 1)),
        )

    def forward(self, latents: Float[Tensor, "b d h w"], levels: int | None = None) -> Quantized:
        with torch.autocast(latents.device.type, enabled=False):
            return self._forward(latents.float(), checked_levels(levels, self.most_levels))

    def _forward(self, latents: Tensor, levels: int) -> Quantized:
        if self.training:
            self.prior.stale.fill_(True)
        scaled = latents * self._gain(self.gains, levels)
        with nullcontext() if self.training else exact():
            z = self.hyper.analysis(scaled)
            values, codes, bits = self._run(scaled, z, noisy if self.training else whole)
        return Quantized(values * self._gain(self.inverse_gains, levels), codes, {"bits": bits / len(latents)}, {})

    def _run(self, scaled: Tensor, z: Tensor, rounding: Rounding) -> tuple[Tensor, Tensor, Tensor]:
        """Values, codes and bits of all items, rounded as ``rounding`` says."""
        coarse, counted = rounding(z, -self.size / 2, self.size / 2 - 1)
        codes = torch.zeros_like(scaled, dtype=torch.int64)
        spent = [self.prior.bits(counted).sum()]

        def visit(part: Part, means: Tensor, index: Tensor) -> Tensor:
            symbols, counted = rounding(scaled[:, part.first : part.last] - means, LOW, HIGH)
            spent.append((self.conditional.bits(counted, index) * part.mask).sum())
            codes[:, part.first : part.last] += ((symbols.detach().round() + HALF) * part.mask).long()
            return (symbols + means) * part.mask

        values = self.context(self.hyper.back(coarse, tuple(scaled.shape[2:])), visit)
        return values, codes, torch.stack(spent).sum()

    def latent_tables(self) -> Int32[Tensor, "scales w"]:
        return self.conditional.tables

    def coders(self) -> StreamCoders:
        return {Z: SideCoder(self.prior), MAIN: LatentCoder(self, self.codebook_sizes)}

    def encode(self, latents: Float[Tensor, "b d h w"], levels: int | None = None) -> Int64[Tensor, "b d h w"]:
        return self.encode_streams(latents, levels)[0]

    @torch.no_grad()
    def encode_streams(self, latents: Float[Tensor, "b d h w"], levels: int | None = None) -> tuple[Tensor, ...]:
        """Codes, ``z`` and the step of each item."""
        levels = checked_levels(levels, self.most_levels)
        with torch.autocast(latents.device.type, enabled=False):
            scaled = latents.float() * self._gain(self.gains, levels)
            return self._streams(scaled, self.hyper.analysis(scaled), levels)

    def _streams(self, scaled: Tensor, z: Tensor, levels: int) -> tuple[Tensor, ...]:
        if self.training:
            raise CodecError("a hyperprior codes in evaluation only: call eval() first")
        with exact():
            _, codes, _ = self._run(scaled, z, whole)
        coarse, _ = whole(z, -self.size / 2, self.size / 2 - 1)
        step = torch.full((len(codes), 1, 1, 1), levels - 1, dtype=torch.int64, device=codes.device)
        return codes, coarse.long() + self.size // 2, step

    def refine(
        self, latents: Float[Tensor, "b d h w"], distortion: Distortion, steps: int, levels: int | None = None
    ) -> tuple[Tensor, ...]:
        """Streams of latents and ``z`` that were moved to cost less; decoders see no difference."""
        levels = checked_levels(levels, self.most_levels)
        if not self.lambdas:
            raise CodecError("this model does not say what a bit is worth: give its quantizer lambdas, one per level")
        worth = float(self._at(torch.tensor(self.lambdas).log()[:, None], torch.tensor([levels - 1])).exp())
        gain = self._gain(self.gains, levels).detach()
        back = self._gain(self.inverse_gains, levels).detach()
        start = latents.detach().float() * gain
        self.train()  # the networks in floats, which have gradients

        def cost(moving: Sequence[Tensor], rounding: Rounding) -> Tensor:
            values, _, bits = self._run(moving[0], moving[1], rounding)
            return bits + worth * distortion(values * back)

        try:
            scaled, z = anneal([start, self.hyper.analysis(start).detach()], cost, steps)
        finally:
            self.eval()
        return self._streams(scaled, z, levels)

    def decode(self, codes: Int64[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        raise CodecError("these codes are differences from means: decode them with their side streams")

    @torch.no_grad()
    def decode_streams(self, streams: tuple[Tensor, ...]) -> Float[Tensor, "b d h w"]:
        codes, z, step = streams
        values = self.context_of(codes, z, partial(_given, codes))
        return values * self._at(self.inverse_gains, step.flatten()).exp()[..., None, None]

    def context_of(self, like: Tensor, z: Int64[Tensor, "b z i j"], visit: Visit) -> Tensor:
        """Run the context model over a grid like that of ``like``, given the side stream, in exact integers."""
        if self.training:
            raise CodecError("a hyperprior codes in evaluation only: call eval() first")
        with exact():
            return self.context(self.hyper.back((z - self.size // 2).to(self.gains), tuple(like.shape[2:])), visit)

    def train(self, mode: bool = True) -> "Hyperprior":
        super().train(mode)
        if not mode and not self.prior.stale.is_meta:
            self.prior.refresh()
        return self

    def _gain(self, logs: Tensor, levels: int) -> Tensor:
        return self._at(logs, torch.full((1,), levels - 1, device=logs.device))[0].exp()[:, None, None]

    def _at(self, logs: Float[Tensor, "levels d"], steps: Int64[Tensor, " b"]) -> Float[Tensor, "b d"]:
        """Rows of a table with one row per gain, and what is between them."""
        low, part = steps // self.between, (steps % self.between / self.between)[:, None]
        return torch.lerp(logs[low], logs[(low + 1).clamp(max=len(logs) - 1)], part.to(logs))


def _given(codes: Tensor, part: Part, means: Tensor, index: Tensor) -> Tensor:
    return (codes[:, part.first : part.last] - HALF + means) * part.mask
