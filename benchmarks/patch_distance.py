"""How far the patches of decoded pictures are from those of the originals, as distributions; nothing is downloaded.

Sliced Wasserstein distance of patches (https://arxiv.org/abs/1710.10196, section 5): of all pictures together, so a
picture may draw its details anew. Unlike there, patches are taken as they are: a change of colour counts.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neuralcodecs.criteria import Metric, MetricFailure

SIDE, PATCHES, DIRECTIONS = 7, 2048, 512
"""Pixels of a patch, patches of each picture, directions on which they are compared."""


class PatchDistance(Metric):
    """Mean over directions of the distance of sorted projections, times 1000, of the difference of a picture and its
    smooth half (scale 1: details of two pixels) and of the same at half the size (scale 2).

    Pixels in [-1, 1]. The same places and directions every time.
    """

    names = ("patches_1", "patches_2")
    higher_is_better = False
    definition = (
        f"sliced Wasserstein distance of {PATCHES} patches of {SIDE} x {SIDE} a picture, {DIRECTIONS} directions, two "
        "levels of a Laplacian pyramid, times 1000"
    )

    def __init__(self) -> None:
        self._found: list[list[tuple[Tensor, Tensor]]] = []

    def fresh(self) -> "PatchDistance":
        return PatchDistance()

    def __call__(
        self, decoded: Float[Tensor, "c h w"], reference: Float[Tensor, "c h w"], rate: int
    ) -> dict[str, float]:
        if min(decoded.shape[1:]) < 4 * SIDE:
            raise MetricFailure(f"a picture of {tuple(decoded.shape[1:])} pixels: patches need {4 * SIDE}")
        ours, theirs = (_details(picture[None].float()) for picture in (decoded, reference))
        self._found.append([(_patches(a), _patches(b)) for a, b in zip(ours, theirs, strict=True)])
        return {}

    def over_files(self) -> dict[str, float]:
        if not self._found:
            raise MetricFailure("no picture has been seen")
        figures = {}
        for name, pairs in zip(self.names, zip(*self._found, strict=True), strict=True):
            ours, theirs = (torch.cat(side) for side in zip(*pairs, strict=True))
            figures[name] = 1000 * _sliced(ours, theirs)
        return figures


def _details(picture: Float[Tensor, "1 c h w"]) -> list[Float[Tensor, "1 c h2 w2"]]:
    levels = []
    for _ in PatchDistance.names:
        half = F.avg_pool2d(picture, 2, ceil_mode=True)
        levels.append(picture - F.interpolate(half, picture.shape[2:], mode="bilinear"))
        picture = half
    return levels


def _patches(picture: Float[Tensor, "1 c h w"]) -> Float[Tensor, "n d"]:
    every = picture[0].unfold(1, SIDE, 1).unfold(2, SIDE, 1)
    rows, columns = every.shape[1:3]
    source = torch.Generator().manual_seed(0)
    places = torch.randint(rows * columns, (PATCHES,), generator=source).to(picture.device)
    return every[:, places // columns, places % columns].transpose(0, 1).flatten(1)


def _sliced(ours: Float[Tensor, "n d"], theirs: Float[Tensor, "n d"]) -> float:
    directions = torch.randn(ours.shape[1], DIRECTIONS, generator=torch.Generator().manual_seed(0))
    directions = F.normalize(directions, dim=0).to(ours)
    apart = ((ours @ directions).sort(dim=0).values - (theirs @ directions).sort(dim=0).values).abs()
    return float(apart.mean())
