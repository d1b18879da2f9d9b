"""Nearest neighbour in a codebook, in true fp32 whatever autocast and TF32 say."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

CPU_TILE = 2**20  # distances held at a time: 4 MiB stay in cache
DEVICE_TILE = 2**25  # 128 MiB: few launches, bounded memory for large codebooks


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Matrix products inside run in IEEE fp32: no autocast, no TF32, no bf16 behind a float's back.

    A distance rounded to 10 bits of mantissa names another code, so files would differ between devices.
    """
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    precisions, legacy = [backend.fp32_precision for backend in backends], _legacy_precision()
    try:
        if legacy is not None:
            torch.set_float32_matmul_precision("highest")
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        if legacy is not None:
            torch.set_float32_matmul_precision(legacy)
        for backend, precision in zip(backends, precisions, strict=True):
            backend.fp32_precision = precision


def _legacy_precision() -> str | None:
    """What ``torch.set_float32_matmul_precision`` has set; None where only ``fp32_precision`` is in use.

    torch keeps both, and refuses to answer when they contradict each other.
    """
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


def nearest(vectors: Float32[Tensor, "n d"], codebook: Float32[Tensor, "k d"]) -> Int64[Tensor, " n"]:
    """Index of the closest row of the codebook by Euclidean distance; the lowest one among equals.

    The argmin of ``|e|^2 - 2 x.e``: ``|x|^2`` is left out because it is the same for all codes.
    The distances come from one fused product per tile; n x k of them are never held at once.
    """
    tile = CPU_TILE if vectors.device.type == "cpu" else DEVICE_TILE
    norms = codebook.square().sum(-1)
    parts = vectors.split(max(1, tile // len(codebook)))
    with exact_products(vectors.device):
        return torch.cat([_argmin(torch.addmm(norms, part, codebook.T, alpha=-2)) for part in parts])


def nearest_sums(
    vectors: Float32[Tensor, "n d"], codebooks: Float32[Tensor, "q k d"], width: int
) -> Int64[Tensor, "n q"]:
    """Codes, one of each codebook, whose sum is near each vector: a beam search.

    From level to level the ``width`` nearest sums are kept and all of them gone on from; at the end the nearest is
    taken. With a width of 1 each level takes the code nearest to what is left over, whatever that leaves to the next.
    Source: multi-path encoding of https://arxiv.org/abs/1509.05195.
    """
    tile = CPU_TILE if vectors.device.type == "cpu" else DEVICE_TILE
    parts = vectors.split(max(1, tile // (width * codebooks.shape[1])))
    norms = codebooks.square().sum(-1)
    with exact_products(vectors.device):
        return torch.cat([_beam(part, codebooks, norms, width) for part in parts])


def _beam(
    vectors: Float32[Tensor, "n d"], codebooks: Float32[Tensor, "q k d"], norms: Float32[Tensor, "q k"], width: int
) -> Int64[Tensor, "n q"]:
    (count, _), (levels, size, _) = vectors.shape, codebooks.shape
    left = vectors[:, None]  # what each path of a vector has left over
    codes = torch.zeros(count, 1, 0, dtype=torch.int64, device=vectors.device)
    for level, codebook in enumerate(codebooks):
        # |left - e|^2, paths having residuals of different length
        distances = torch.addmm(norms[level], left.flatten(0, 1), codebook.T, alpha=-2).view(*left.shape[:2], size)
        distances = (distances + left.square().sum(-1, keepdim=True)).flatten(1)
        if level + 1 < levels:
            found = distances.topk(min(width, distances.shape[1]), largest=False).indices
        else:
            found = _argmin(distances)[:, None]
        path, code = found // size, found % size
        codes = torch.cat([codes.gather(1, path[..., None].expand(-1, -1, level)), code[..., None]], dim=-1)
        left = left.gather(1, path[..., None].expand(-1, -1, left.shape[-1])) - codebook[code]
    return codes[:, 0]


def _argmin(distances: Float32[Tensor, "n k"]) -> Int64[Tensor, " n"]:
    size = distances.shape[1]
    width = math.gcd(size, 64)
    if distances.device.type != "cpu" or width < 16 or width == size:
        return distances.argmin(-1)
    # torch's CPU argmin is scalar code and its amin is not: find the block first, then search that block only
    block = distances.unflatten(1, (-1, width)).amin(-1).argmin(-1)
    starts = torch.arange(len(distances)) * (size // width)
    return block * width + distances.view(-1, width).index_select(0, starts + block).argmin(-1)
