"""Residual vector quantization learned by running averages (https://arxiv.org/abs/2107.03312, 2210.13438).

Ours rather than vector-quantize-pytorch's ResidualVQ. Tried behind this contract, version 1.32.0 (rotation trick off):
the straight-through gradient of 4 levels is 4; statistics are applied per forward (two micro-batches differ from one
batch by .15) and two processes end elsewhere than one (nearest codes up to 8.8 apart); dead codes come back only to
61-63 of 64 within 20 steps, by a threshold in absolute hits; all levels start on one batch (64 vectors: levels 2 to 8
all zero); under CPU autocast the search is in bf16 (.8 % other codes); the global random state is used; a prefix of
levels cannot be decoded unless quantizer dropout is on; dead codes stop the CUDA stream. What held: its commitment
gradient reaches every level, and decoding its codes gives the forward's latents to the bit.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.nn import functional

from neuralcodecs.codec import Quantized, Quantizer
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.codebook import CodebookBank
from neuralcodecs.quantizers.numerics import checked_levels, straight_through
from neuralcodecs.quantizers.usage import codebook_statistics


class _Trace(NamedTuple):
    codes: Int64[Tensor, "n q"]
    centre: Float32[Tensor, "n d"]
    """Mean over levels of the sums of codes up to each level."""
    distance: Float32[Tensor, ""]
    """Mean over levels of the mean squared residual that each leaves."""


class ResidualVQ(Quantizer):
    """Each level codes, by its nearest code, what the levels before it have left over; latents are the sum.

        latents - code_1 - code_2 - ... - code_q = what is lost

    In training mode every forward adds to the statistics of the levels that it used, and ``update`` applies them
    (``CodebookBank``). Levels join one per update: until then a training forward uses those that are initialised, and
    returns the latents as they are, with no codes, where there are none yet. In eval mode all levels are used, whatever
    their codebooks hold, and nothing is learned.

    Loss ``commitment``: mean over the levels in use of the mean squared distance between each level's input and its
    code, whose gradient reaches the latents from every level (EnCodec's released code detaches all but the first,
    encodec#25). The mean over levels is that of EnCodec's code; the paper's equation 3 is the sum: q times as much.
    Statistics: ``usage``, ``perplexity``, ``entropy`` (bits) and ``replaced`` (codes, in the last update), each of the
    levels in use.

    Args:
        dim: channels of the latents.
        codebooks: number of levels.
        codebook_size: codes per level.
        levels: numbers of levels that the codec runs at, ascending, the last being ``codebooks``; None for only that.
        decay: of the running averages, per update.
        dead_threshold: share of the mean usage below which a code is replaced; 0 never replaces.
        kmeans_iterations: at most, per level.
        beam: sums of codes that ``encode`` goes on from at each level; with 1 each level takes its nearest code, as in
            training. More lose less (``quantizers.search``), for more work, and codes of fewer levels are then no
            prefix of those of more. Files and decoders are the same.
    """

    def __init__(
        self,
        dim: int,
        codebooks: int = 8,
        codebook_size: int = 1024,
        levels: tuple[int, ...] | None = None,
        decay: float = 0.99,
        dead_threshold: float = 0.1,
        kmeans_iterations: int = 50,
        beam: int = 1,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.widen(beam)
        self.codebook_sizes = (codebook_size,) * codebooks
        self.levels = tuple(levels) if levels is not None else (codebooks,)
        ascending = self.levels == tuple(sorted(set(self.levels)))
        if not ascending or self.levels[:1] < (1,) or self.levels[-1] != codebooks:
            raise CodecError(f"levels {self.levels} must ascend from 1 or more to the number of codebooks, {codebooks}")
        self.bank = CodebookBank(codebooks, codebook_size, dim, decay, dead_threshold, kmeans_iterations)

    @property
    def codebooks(self) -> Float32[Tensor, "q k d"]:
        return self.bank.codebooks

    def load_codebooks(self, codebooks: Float[Tensor, "q k d"]) -> None:
        """Set all levels from elsewhere; they then count as initialised. Raises CodecError when the shape differs."""
        self.bank.load(codebooks)

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        vectors = _flat(latents).float()
        trace = self._quantize(vectors.detach(), checked_levels(levels, len(self.codebook_sizes)))
        codes = _unflat(trace.codes, latents)
        used = codes.shape[1]
        statistics = codebook_statistics(codes, self.codebook_sizes)
        statistics["replaced"] = self.bank.replaced[:used].clone()
        # the distances to the levels' own targets and to their mean differ by a constant: one backward serves all
        commitment = functional.mse_loss(vectors, trace.centre)
        commitment = straight_through(commitment, trace.distance)
        output = latents
        if used:
            output = straight_through(latents, _unflat(self.bank.lookup(trace.codes), latents).to(latents.dtype))
        return Quantized(output, codes, {"commitment": commitment}, statistics)

    @torch.no_grad()
    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b q *grid"]:
        vectors, levels = _flat(latents).float(), checked_levels(levels, len(self.codebook_sizes))
        if self.beam > 1:
            return _unflat(self.bank.search_sums(vectors, levels, self.beam), latents)
        return _unflat(torch.stack([codes for _, codes, _ in self._descend(vectors, levels)], dim=-1), latents)

    @torch.no_grad()
    def decode(self, codes: Int64[Tensor, "b q *grid"]) -> Float[Tensor, "b d *grid"]:
        checked_levels(codes.shape[1], len(self.codebook_sizes))
        size = self.codebook_sizes[0]
        # elsewhere the check would stall the device; files are checked against their alphabets when they are read
        if codes.device.type == "cpu" and codes.numel() and not (0 <= int(codes.min()) <= int(codes.max()) < size):
            raise CodecError(f"codes from {int(codes.min())} to {int(codes.max())}: this quantizer has 0 to {size - 1}")
        return _unflat(self.bank.lookup(_flat(codes)), codes)

    @property
    def settled(self) -> bool:
        return self.bank.complete

    def widen(self, paths: int) -> None:
        if paths < 1:
            raise CodecError(f"a beam of {paths} paths: give at least 1")
        self.beam = paths

    def update(self) -> None:
        self.bank.update()

    def discard(self) -> None:
        self.bank.pending.clear()

    def _descend(self, residual: Float32[Tensor, "n d"], levels: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Per level: the residual that it codes, the codes, and the residual that it leaves."""
        for level in range(levels):
            codes = self.bank.search(level, residual)
            remainder = residual - self.codebooks[level].index_select(0, codes)
            yield residual, codes, remainder
            residual = remainder

    @torch.no_grad()
    def _quantize(self, vectors: Float32[Tensor, "n d"], levels: int) -> _Trace:
        bank, learning = self.bank, self.training
        used = min(levels, bank.initialised) if learning else levels
        # the level to be initialised next needs the residual of all that are, however few this forward uses
        depth = bank.initialised if learning and not bank.complete else used
        sample = bank.sample(len(vectors)) if learning else None
        codes, remainder = [], vectors
        pull, squares = torch.zeros_like(vectors), vectors.new_zeros(len(vectors))
        for level, (residual, chosen, remainder) in enumerate(self._descend(vectors, depth)):
            if level >= used:
                continue
            errors = remainder.square().sum(-1)
            if sample is not None:
                bank.pending.add(level, residual, chosen, errors, sample)
            codes.append(chosen)
            pull += remainder
            squares += errors
        if sample is not None and not bank.complete:
            bank.pending.fill_pool(remainder, sample)
        stacked = torch.stack(codes, dim=-1) if codes else vectors.new_zeros((len(vectors), 0), dtype=torch.int64)
        count = max(used, 1)
        return _Trace(stacked, vectors - pull / count, squares.mean() / (count * self.dim))


def _flat(grid: Tensor) -> Tensor:
    """``(b, d, *grid)`` to ``(n, d)``."""
    return grid.movedim(1, -1).reshape(-1, grid.shape[1])


def _unflat(rows: Tensor, like: Tensor) -> Tensor:
    """``(n, d)`` to ``(b, d, *grid)`` with the batch and grid of ``like``."""
    return rows.view(len(like), *like.shape[2:], rows.shape[1]).movedim(-1, 1).contiguous()
