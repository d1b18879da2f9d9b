"""How a batch uses its codebooks: usage, perplexity and entropy per codebook, without a host synchronisation."""

import math

import torch
from jaxtyping import Float32, Int64
from torch import Tensor


def codebook_statistics(codes: Int64[Tensor, "b q *grid"], sizes: tuple[int, ...]) -> dict[str, Tensor]:
    """Figures of this rank's batch, each ``(q,)``; ``sizes`` are the alphabets, and may name more than q.

    ``usage``: share of a codebook that occurs, in [0, 1]. ``entropy``: of the empirical distribution, in bits; 0 for an
    empty batch. ``perplexity``: 2 to the entropy, the number of codes that would give it if used evenly.
    """
    sizes = sizes[: codes.shape[1]]
    counts = _histogram(codes, sizes)
    used = (counts > 0).sum(-1)
    if len(set(sizes)) <= 1:
        usage = used / max(sizes, default=1)
    else:  # one by one, because a tensor made of python numbers would be a blocking copy to the device
        usage = torch.stack([count / size for count, size in zip(used, sizes, strict=True)])
    shares = counts / counts.sum(-1, keepdim=True).clamp(min=1)
    entropy = torch.special.entr(shares).sum(-1) / math.log(2)
    return {"usage": usage, "perplexity": entropy.exp2(), "entropy": entropy}


def _histogram(codes: Int64[Tensor, "b q *grid"], sizes: tuple[int, ...]) -> Float32[Tensor, "q k"]:
    """How often each code occurs, per codebook; k is the largest alphabet. Exact below 2^24.

    Not ``torch.bincount``, which stalls a CUDA stream to find its length.
    """
    width = max(sizes, default=0)
    books = torch.arange(len(sizes), device=codes.device)
    places = (codes.transpose(0, 1).flatten(1) + width * books[:, None]).flatten()
    counts = torch.zeros(len(sizes) * width, device=codes.device)
    return counts.scatter_add_(0, places, torch.ones_like(places, dtype=counts.dtype)).view(len(sizes), width)
