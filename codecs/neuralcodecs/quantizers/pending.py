"""What training forwards have gathered about each codebook since the last update."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from neuralcodecs.layers.distributed import rank_and_world, sum_over_ranks
from neuralcodecs.quantizers.draws import strata

POOL_PER_CODE = 4  # vectors for k-means per code, over all ranks; EnCodec's first batch has about as many


class Sample(NamedTuple):
    """Which rows of a batch are kept, and in which slots: the same for all levels of one forward."""

    slots: Int64[Tensor, " m"]
    rows: Int64[Tensor, " m"]
    pool_slots: Int64[Tensor, " n"]
    pool_rows: Int64[Tensor, " n"]


class Pending(nn.Module):
    """Cluster sums and counts, candidates for dead codes, and the vectors from which the next level starts.

    All zero after an update, so weights can be published without them; a checkpoint between two forwards of one
    step needs them. Slots are shared by all ranks (each fills its block, the others hold zeros there), so that one
    sum over ranks is also the gathering. Later forwards of a step overwrite slots of earlier ones.
    """

    sums: Tensor
    counts: Tensor
    candidates: Tensor
    errors: Tensor
    pool: Tensor
    present: Tensor
    forwards: Tensor

    def __init__(self, levels: int, size: int, dim: int) -> None:
        super().__init__()
        slots = min(size, max(64, size // 4))  # most that can be replaced in one update
        self.register_buffer("sums", torch.zeros(levels, size, dim))
        self.register_buffer("counts", torch.zeros(levels, size))
        self.register_buffer("candidates", torch.zeros(levels, slots, dim))
        self.register_buffer("errors", torch.zeros(levels, slots))
        self.register_buffer("pool", torch.zeros(POOL_PER_CODE * size, dim))
        self.register_buffer("present", torch.zeros(POOL_PER_CODE * size))
        self.register_buffer("forwards", torch.zeros((), dtype=torch.int64))

    def sample(self, rows: int, updates: Int64[Tensor, ""]) -> Sample:
        """Draw the rows of a batch of ``rows`` vectors that the next ``add`` and ``fill_pool`` keep."""
        self.forwards += 1
        rank, world = rank_and_world()
        slots = strata(rows, self.candidates.shape[1], rank, world, updates, self.forwards)
        return Sample(*slots, *strata(rows, len(self.pool), rank, world, updates, self.forwards))

    def add(
        self,
        level: int,
        vectors: Float32[Tensor, "n d"],
        codes: Int64[Tensor, " n"],
        errors: Float32[Tensor, " n"],
        sample: Sample,
    ) -> None:
        """Count vectors that one level has coded with squared ``errors``.

        On CUDA the order of additions, and so the last bit of the sums, varies from run to run.
        """
        self.sums[level].index_add_(0, codes, vectors)
        self.counts[level].index_add_(0, codes, torch.ones_like(errors))
        self.candidates[level].index_copy_(0, sample.slots, vectors[sample.rows])
        self.errors[level].index_copy_(0, sample.slots, errors[sample.rows])

    def fill_pool(self, vectors: Float32[Tensor, "n d"], sample: Sample) -> None:
        """Keep vectors for the k-means of the next level: the residuals of all levels before it."""
        self.pool.index_copy_(0, sample.pool_slots, vectors[sample.pool_rows])
        self.present.index_fill_(0, sample.pool_slots, 1.0)

    def join_ranks(self, with_pool: bool) -> None:
        """Sum over ranks, by one collective, and take out what is not finite (a diverging step poisons no codebook)."""
        parts = [self.sums, self.counts, self.candidates, self.errors]
        sum_over_ranks([*parts, self.pool, self.present] if with_pool else parts)
        for vectors, weights in ((self.sums, self.counts), (self.candidates, self.errors), (self.pool, self.present)):
            finite = (vectors.sum(-1) + weights).isfinite()
            weights.copy_(torch.where(finite, weights, 0))
            vectors.copy_(torch.where(finite[..., None], vectors, 0))

    def clear(self) -> None:
        for buffer in self.buffers():
            buffer.zero_()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        if any(name.startswith(prefix) for name in state_dict):
            super()._load_from_state_dict(state_dict, prefix, *rest)
        else:  # published weights
            self.clear()
