"""The entropy regulariser of lookup-free, dense and categorical quantizers: codes both sure and diverse.

With a soft assignment p(code | position), two entropies (nats) are wanted at once:

    conditional   mean over positions of H(p(. | position))     small: every position is sure of its code
    marginal      H(mean over positions of p(. | position))     large: all codes are used

Their difference is the mutual information of code and position. Sources of p: bits (LFQ https://arxiv.org/abs/2310.05737,
BSQ https://arxiv.org/abs/2406.07548, grouped as in WeTok https://arxiv.org/abs/2508.05599), dense codes (IBQ
https://arxiv.org/abs/2412.02692), and dense codes with labels in place of positions (DIMCO
https://arxiv.org/abs/1905.11656). Means are over the positions of this rank only.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from neuralcodecs.quantizers.search import exact_products


class Entropies(NamedTuple):
    """Conditional and marginal entropy in nats, scalars, summed over codebooks (averaged where they are pooled)."""

    conditional: Tensor
    marginal: Tensor

    def losses(self) -> dict[str, Tensor]:
        """Both as terms to minimise, weighted positively: ``token_entropy`` >= 0 and ``codebook_entropy`` <= 0.

        ``codebook_entropy`` is minus the marginal entropy: its minimum, -log of the codebook size, is uniform usage.
        """
        return {"token_entropy": self.conditional, "codebook_entropy": -self.marginal}


def binary_entropies(logits: Float[Tensor, "n q bits"], pool: bool = False) -> Entropies:
    """Entropies of codes made of independent bits, ``p(bit = 1) = sigmoid(logit)``: exact for each codebook.

    The conditional entropy is a sum over bits. The marginal one needs the mean of n product distributions, each over
    ``2 ** bits`` codes; cut in two, a product distribution is the outer product of its halves, so that the mean is one
    matrix product of two ``(n, 2 ** (bits / 2))`` tables and nothing of size ``n * 2 ** bits`` exists.

    Summed over q codebooks, the marginal is an upper bound of the entropy of all their bits jointly (exact for q = 1).
    With ``pool``, as in WeTok's released code, all codebooks share one histogram and the conditional entropy is their
    mean; the paper has neither.
    """
    n, q, bits = logits.shape
    with exact_products(logits.device):
        low, high = _product_distribution(logits[..., : bits // 2]), _product_distribution(logits[..., bits // 2 :])
        mean = torch.einsum("nqh,nql->qhl", high, low).flatten(1) / n
    conditional = bit_entropy(logits).sum() / n
    if pool:
        return Entropies(conditional / q, entropy(mean.mean(0)))
    return Entropies(conditional, entropy(mean).sum())


def dense_entropies(probabilities: Float[Tensor, "n q k"], labels: Int64[Tensor, " n"] | None = None) -> Entropies:
    """Entropies of q independent k-way codes.

    With ``labels`` the conditional entropy is that of each class's mean distribution, weighted by how often the class
    occurs, so that samples of a class are drawn to one code (DIMCO); without, each sample is its own class.
    """
    marginal = entropy(probabilities.mean(0)).sum()
    if labels is None:
        return Entropies(entropy(probabilities).sum() / len(probabilities), marginal)
    _, classes, counts = labels.unique(return_inverse=True, return_counts=True)
    sums = probabilities.new_zeros((len(counts), *probabilities.shape[1:])).index_add(0, classes, probabilities)
    per_class = entropy(sums / counts[:, None, None]).sum(-1)
    return Entropies((per_class * counts).sum() / len(probabilities), marginal)


def entropy(probabilities: Float[Tensor, "*shape k"]) -> Float[Tensor, "*shape"]:
    """Entropy in nats over the last axis; its gradient is finite where a probability underflows to zero."""
    floor = torch.finfo(probabilities.dtype).tiny
    return -(probabilities * probabilities.clamp_min(floor).log()).sum(-1)


def bit_entropy(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Entropy in nats of bits that are 1 with probability ``sigmoid(logit)``; no cancellation for large logits."""
    size = logits.abs()
    return functional.softplus(-size) + size * torch.sigmoid(-size)


def _product_distribution(logits: Float[Tensor, "n q bits"]) -> Float[Tensor, "n q codes"]:
    """Probabilities of the ``2 ** bits`` codes of independent bits, the first bit being the least significant.

    Sums of logarithms by one product each, so that no table of a prefix is kept for the backward.
    """
    bits = logits.shape[-1]
    places = torch.arange(bits, device=logits.device)[:, None]
    ones = (torch.arange(2**bits, device=logits.device) >> places & 1).to(logits.dtype)
    # of one sign, so that nothing cancels in the likely codes
    return (functional.logsigmoid(logits) @ ones + functional.logsigmoid(-logits) @ (1 - ones)).exp()
