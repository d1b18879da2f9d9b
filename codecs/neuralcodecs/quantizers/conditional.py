"""Gaussian conditional: integer tables for 64 scales, and the bits of a value (https://arxiv.org/abs/1809.02736)."""

import math

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

SCALES = 64
SMALLEST, LARGEST = 0.11, 256.0
STEP = math.log(LARGEST / SMALLEST) / (SCALES - 1)
"""Between the logarithms of neighbouring scales."""
SYMBOLS = 1024
"""Differences from the mean, -512 to 511; the tables hold all of them, so there is nothing to escape."""
TOTAL = 1 << 24
LEAST = 2.0**-24


class GaussianConditional(nn.Module):
    """What a rounded difference from a mean costs, given the index of its scale, 0 to 63 and evenly spaced in octaves.

    The tables are stored with the model: every device reads the same integers.
    """

    tables: Int32[Tensor, "scales w"]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("tables", torch.zeros(SCALES, SYMBOLS + 1, dtype=torch.int32))
        if self.tables.device.type != "meta":
            self.tables.copy_(_tables())

    def bits(self, difference: Float[Tensor, "*any"], index: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """-log2 of the mass within half a step of the difference; both may be between whole numbers."""
        width = SMALLEST * torch.exp(STEP * index) * math.sqrt(2)
        away = difference.abs()
        mass = (torch.erfc((away - 0.5) / width) - torch.erfc((away + 0.5) / width)) / 2
        return -torch.log2(mass.clamp(min=LEAST))


def _tables() -> Int32[Tensor, "scales w"]:
    scales = SMALLEST * torch.exp(STEP * torch.arange(SCALES, dtype=torch.float64))[:, None]
    edges = torch.arange(SYMBOLS + 1, dtype=torch.float64) - SYMBOLS // 2 - 0.5
    below = torch.special.ndtr(edges / scales)
    share = (below - below[:, :1]) / (below[:, -1:] - below[:, :1])
    table = torch.arange(SYMBOLS + 1) + torch.floor(share * (TOTAL - SYMBOLS)).long()
    return table.int()
