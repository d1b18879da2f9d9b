"""A small language model of fixed size, trained on a fixed amount of signal: bits that codes cost, in time or space."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int64
from torch import Tensor
from tqdm import tqdm

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.lm.network import Network
from neuralcodecs.lm.patch_model import PatchModel

OUTER, INNER = Network(width=128, layers=4, heads=4), Network(width=64, layers=2, heads=4)
BATCH = 4
RATE = 0.002
WINDOWS = {1: 128, 2: 12}
"""Positions on each axis that the model sees together, by the number of axes."""

Grids = Sequence[Int64[Tensor, "rows ..."]]


def model_bits(
    train: Grids, test: Grids, alphabet: Shape, budget: float, extent: Callable[[Shape], float], device: torch.device
) -> float:
    """Bits for each unit of ``extent`` (of a grid) of held-out files, after training on ``budget`` units.

    The model goes over positions, and over the rows of each (a depth transformer): the same for any number of rows.
    Raises CodecError when a file is smaller than the window on some axis and none is larger.
    """
    window = _window(train)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PatchModel(alphabet, len(window), OUTER, INNER).to(device)
    source = torch.Generator().manual_seed(0)
    large = [grid for grid in train if all(n >= w for n, w in zip(grid.shape[1:], window, strict=True))]
    steps = max(1, round(budget / (BATCH * extent(window))))
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1, pct_start=0.1)
    for _ in tqdm(range(steps), "language model", unit="step", disable=None, leave=False):
        loss = model(torch.stack([_crop(large, window, source) for _ in range(BATCH)]).to(device)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return _bits(model.eval(), test, window, device) / sum(extent(tuple(grid.shape[1:])) for grid in test)


def _window(grids: Grids) -> Shape:
    """The usual one, or the largest that the largest file has."""
    axes = grids[0].ndim - 1
    largest = max(grids, key=lambda grid: grid[0].numel()).shape[1:]
    if min(largest) < 1:
        raise CodecError("files without codes: give longer ones")
    return tuple(min(n, WINDOWS[axes]) for n in largest)


def _crop(grids: Grids, window: Shape, source: torch.Generator) -> Tensor:
    sizes = torch.tensor([float(grid[0].numel()) for grid in grids])
    grid = grids[int(torch.multinomial(sizes, 1, generator=source))]
    starts = [
        int(torch.randint(n - w + 1, (1,), generator=source)) for n, w in zip(grid.shape[1:], window, strict=True)
    ]
    return grid[(slice(None), *(slice(s, s + w) for s, w in zip(starts, window, strict=True)))]


@torch.no_grad()
def _bits(model: PatchModel, grids: Grids, window: Shape, device: torch.device) -> float:
    total = 0.0
    for grid in grids:
        parts = [grid]
        for axis, size in enumerate(window, 1):
            parts = [piece for part in parts for piece in part.split(size, dim=axis)]
        total += sum(float(model(part[None].to(device)).double().sum()) for part in parts)
    return total / math.log(2)
