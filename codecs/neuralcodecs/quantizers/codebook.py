"""Codebooks learned by running averages: one per level of a residual quantizer (https://arxiv.org/abs/1711.00937, A.1).

The average is kept as codes and their usage, not as a sum and a count:

    usage <- usage + (1 - decay) (n - usage)              n = vectors of the code in this step, over all ranks
    code  <- code  + (1 - decay) (sum - n code) / usage   algebraically the ratio of the two averages

so a code that is replaced cannot be overwritten by a stale sum in the same step (encodec#33, #61), and one that no
vector chose does not move. EnCodec's Laplace smoothing is left out: it draws rare codes towards the origin.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn
from torch.nn import functional

from neuralcodecs.errors import CodecError
from neuralcodecs.layers.distributed import copy_from_first_rank
from neuralcodecs.quantizers.draws import uniform
from neuralcodecs.quantizers.kmeans import kmeans, replace
from neuralcodecs.quantizers.pending import Pending, Sample
from neuralcodecs.quantizers.search import nearest, nearest_sums

TELLING = 3.0  # vectors: a code at the threshold that expects so many gets none in 5 % of steps


class CodebookBank(nn.Module):
    """``levels`` codebooks of ``size`` codes, with what it takes to learn them.

        forward (any number of times)      update (once per optimizer step, on all ranks)
        search, lookup  -> pending  ->     sum over ranks, move codes, replace dead ones, start the next level

    Levels are initialised one per update, by k-means over all ranks' residuals of the levels before, as in Moshi:
    residuals of one batch after k-means on the same batch would be near zero. Before that a level holds normal noise
    (of variance 1 / dim, the same in every process).

    A code is dead when its usage falls below ``dead_threshold`` x the mean of its level, or when no vector chose it in
    a step so large that a code at the threshold expects ``TELLING`` of them (the running average would take 229 steps
    to tell, by default). It is put on a vector of the current step and starts at the threshold, so that a poor choice
    is replaced again at once and a good one soon finds its place. Levels that no vector reached in a step stay.

    Neither forward nor ``update`` waits for a CUDA device, except in the updates that run k-means. All state is in the
    state dict; ``pending.*`` is zero between steps and may be left out of published weights, as may all but
    ``codebooks``: such a bank counts as initialised.
    """

    codebooks: Tensor
    usage: Tensor
    replaced: Tensor
    updates: Tensor
    initialised_levels: Tensor

    def __init__(
        self, levels: int, size: int, dim: int, decay: float, dead_threshold: float, kmeans_iterations: int
    ) -> None:
        super().__init__()
        self.decay = decay
        self.dead_threshold = dead_threshold
        self.kmeans_iterations = kmeans_iterations
        self.register_buffer("codebooks", torch.zeros(levels, size, dim))
        self.register_buffer("usage", torch.zeros(levels, size))
        self.register_buffer("replaced", torch.zeros(levels))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("initialised_levels", torch.zeros((), dtype=torch.int64))
        self.pending = Pending(levels, size, dim)
        self._initialised = 0  # the buffer's value, so that no forward has to ask the device
        noise = uniform(self.codebooks.numel(), self.updates)
        self.codebooks.copy_((torch.erfinv(2 * noise - 1) * (2 / dim) ** 0.5).view_as(self.codebooks))

    @property
    def initialised(self) -> int:
        """How many levels, from the first, have learned codebooks."""
        return self._initialised

    @property
    def complete(self) -> bool:
        """Whether all levels are initialised."""
        return self._initialised == len(self.codebooks)

    def search(self, level: int, vectors: Float32[Tensor, "n d"]) -> Int64[Tensor, " n"]:
        return nearest(vectors, self.codebooks[level])

    def search_sums(self, vectors: Float32[Tensor, "n d"], levels: int, width: int) -> Int64[Tensor, "n q"]:
        return nearest_sums(vectors, self.codebooks[:levels], width)

    def lookup(self, codes: Int64[Tensor, "n q"]) -> Float32[Tensor, "n d"]:
        """Sum of the codes of the first q levels, by one gather; added in the order of levels."""
        size = self.codebooks.shape[1]
        offsets = size * torch.arange(codes.shape[1], device=codes.device)
        return functional.embedding_bag(codes + offsets, self.codebooks.flatten(0, 1), mode="sum")

    def sample(self, rows: int) -> Sample:
        return self.pending.sample(rows, self.updates)

    @torch.no_grad()
    def load(self, codebooks: Float[Tensor, "q k d"]) -> None:
        """Take codebooks from elsewhere, for all levels; their usage counts as even until the next update."""
        if codebooks.shape != self.codebooks.shape:
            expected, given = tuple(self.codebooks.shape), tuple(codebooks.shape)
            raise CodecError(
                f"codebooks of shape {given} do not fit a quantizer of shape {expected} (levels, size, dim)"
            )
        self.codebooks.copy_(codebooks)
        self.usage.zero_()
        self.replaced.zero_()
        self.pending.clear()
        self._set_initialised(len(codebooks))

    @torch.no_grad()
    def update(self) -> None:
        """Apply what has been gathered; a collective call. Without a forward since the last one, nothing moves."""
        self.pending.join_ranks(with_pool=not self.complete)
        self._move()
        self._replace_dead()
        if not self.complete:
            self._initialise_next()
        self.updates += 1
        self.pending.clear()

    def _move(self) -> None:
        counts, sums = self.pending.counts, self.pending.sums
        total = counts.sum(-1, keepdim=True)
        # codebooks that came without usage: as if all codes had been used evenly until now
        known = self.usage.sum(-1, keepdim=True) > 0
        usage = torch.where(known, self.usage, total / counts.shape[1])
        weight = (1 - self.decay) * (total > 0)
        self.usage.copy_(usage + weight * (counts - usage))
        shift = sums.addcmul(counts[..., None], self.codebooks, value=-1)
        rate = weight / self.usage.clamp(min=torch.finfo(usage.dtype).tiny)
        self.codebooks.addcmul_(shift, rate[..., None])

    def _replace_dead(self) -> None:
        even = self.usage.mean(-1, keepdim=True)
        counts = self.pending.counts
        mean = counts.mean(-1, keepdim=True)
        missed = (counts == 0) & (self.dead_threshold * mean >= TELLING)
        dead = ((self.usage < self.dead_threshold * even) | missed) & (mean > 0)
        errors = self.pending.errors
        noise = uniform(errors.numel(), self.updates).view_as(errors)
        codebooks, replaced = replace(self.codebooks, dead, self.pending.candidates, errors, noise)
        self.codebooks.copy_(codebooks)
        # not from the mean, from which a poor choice would sit unused for ln(threshold) / ln(decay) steps
        self.usage.copy_(torch.where(replaced, self.dead_threshold * even, self.usage))
        self.replaced.copy_(replaced.sum(-1))

    def _initialise_next(self) -> None:
        if not self.pending.present.any():
            return
        level, (_, size, _) = self._initialised, self.codebooks.shape
        found = kmeans(self.pending.pool, self.pending.present, size, self.kmeans_iterations, self.updates)
        copy_from_first_rank(found)  # CUDA sums differ in the last bit between ranks
        self.codebooks[level], self.usage[level] = found
        self._set_initialised(level + 1)

    def _set_initialised(self, levels: int) -> None:
        self._initialised = levels
        self.initialised_levels.fill_(levels)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "CodebookBank":
        """Follow the module to another device but not to half precision, where a step of 1 % is lost in rounding."""

        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(move, recurse)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        if f"{prefix}initialised_levels" not in state_dict and f"{prefix}codebooks" in state_dict:
            self.load(state_dict[f"{prefix}codebooks"])
            return
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._initialised = int(self.initialised_levels)
