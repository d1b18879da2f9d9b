"""k-means on one pool of vectors, and the replacement of unused centroids that training shares with it."""

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from neuralcodecs.quantizers.draws import uniform, weighted_order
from neuralcodecs.quantizers.search import nearest


def kmeans(
    vectors: Float32[Tensor, "n d"],
    weights: Float32[Tensor, " n"],
    size: int,
    iterations: int,
    counter: Int64[Tensor, ""],
) -> tuple[Float32[Tensor, "k d"], Float32[Tensor, " k"]]:
    """Lloyd's algorithm: centroids, and how many vectors each has.

    Starts from vectors drawn without replacement; a centroid that loses all vectors moves to a badly served one in
    each iteration. Stops early when no assignment changes (which synchronises with the host).
    With fewer distinct vectors than centroids, the rest are copies with no vectors: the lowest of equals wins the
    search, so these count as dead in training and are replaced from later batches.

    Args:
        weights: 1 for a vector, 0 for an empty place.
        counter: what the draws are a function of.
    """
    order = weighted_order(weights, uniform(len(vectors), counter))
    present = weights.count_nonzero().clamp(min=1)
    centroids = vectors[order[torch.arange(size, device=order.device) % present]]
    codes = nearest(vectors, centroids)
    for iteration in range(iterations):
        sizes, sums = _clusters(vectors, weights, codes, size)
        centroids = torch.where(sizes[:, None] > 0, sums / sizes[:, None].clamp(min=1), centroids)
        errors = weights * (vectors - centroids[codes]).square().sum(-1)
        noise = uniform(len(vectors), counter, torch.full_like(counter, iteration + 1))
        centroids = replace(centroids[None], sizes[None] == 0, vectors[None], errors[None], noise[None])[0][0]
        before, codes = codes, nearest(vectors, centroids)
        if torch.equal(before, codes):
            break
    return centroids, _clusters(vectors, weights, codes, size)[0]


def replace(
    vectors: Float32[Tensor, "q k d"],
    dead: Bool[Tensor, "q k"],
    candidates: Float32[Tensor, "q r d"],
    errors: Float32[Tensor, "q r"],
    noise: Float32[Tensor, "q r"],
) -> tuple[Float32[Tensor, "q k d"], Bool[Tensor, "q k"]]:
    """Put distinct candidates in the place of dead vectors; says which were replaced. No host synchronisation.

    Candidates are drawn in proportion to their squared error, as k-means++ does
    (https://theory.stanford.edu/~sergei/papers/kMeansPP-soda.pdf): in many dimensions a vector drawn evenly lies
    beside a centroid that serves its cluster well already, and would attract nothing but itself.
    With more dead than candidates of positive error, the later ones stay dead.
    """
    order = weighted_order(errors, noise)
    turn = dead.cumsum(-1) - 1
    chosen = order.gather(1, turn.clamp(0, order.shape[1] - 1))
    replaced = dead & (turn < order.shape[1]) & (errors.gather(1, chosen) > 0)
    fresh = candidates.gather(1, chosen[..., None].expand(-1, -1, candidates.shape[-1]))
    return torch.where(replaced[..., None], fresh, vectors), replaced


def _clusters(
    vectors: Float32[Tensor, "n d"], weights: Float32[Tensor, " n"], codes: Int64[Tensor, " n"], size: int
) -> tuple[Float32[Tensor, " k"], Float32[Tensor, "k d"]]:
    sizes = weights.new_zeros(size).index_add_(0, codes, weights)
    return sizes, vectors.new_zeros(size, vectors.shape[1]).index_add_(0, codes, vectors * weights[:, None])
