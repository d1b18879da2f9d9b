"""A density for each channel, learned by itself: the prior of a side stream (https://arxiv.org/abs/1802.01436).

Published with a monotone network for each channel and a second optimizer for where its tails end; here a mixture of
logistics on a bounded alphabet, whose tails end where the alphabet does.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

TOTAL = 1 << 24
LEAST = 2.0**-24


class FactorisedPrior(nn.Module):
    """Bits and integer tables of values of ``-size / 2`` to ``size / 2 - 1``, one density per channel.

    The tables are made once, of the weights that training left, and stored with them; they are never made again when a
    model is loaded, since floats differ between machines.

    Args:
        channels: of what it describes.
        size: of the alphabet, even.
        components: logistics per channel.
    """

    tables: Int64[Tensor, "c w"]
    stale: Tensor

    def __init__(self, channels: int, size: int = 64, components: int = 3) -> None:
        super().__init__()
        self.size = size
        spread = torch.linspace(-1, 1, components).expand(channels, -1)
        self.means = nn.Parameter(spread.clone())
        self.log_scales = nn.Parameter(torch.zeros(channels, components))
        self.logits = nn.Parameter(torch.zeros(channels, components))
        self.register_buffer("tables", torch.zeros(channels, size + 1, dtype=torch.int64))
        self.register_buffer("stale", torch.tensor(True))

    def bits(self, values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Of each value: -log2 of the mass within half a step of it."""
        return -torch.log2(self._mass(values.float()).clamp(min=LEAST))

    @torch.no_grad()
    def refresh(self) -> None:
        """Make the tables of the weights, where training has moved them since."""
        if not self.stale:
            return
        values = torch.arange(self.size, dtype=torch.float64) - self.size // 2
        mass = self.double()._mass(values.to(self.means)[None, None, None].expand(1, len(self.means), -1, -1))
        self.float()
        counts = torch.floor(mass[0, :, 0] * 2.0**32).long() + 1
        below = F.pad(counts.cumsum(-1), (1, 0))
        share = torch.div(below * ((TOTAL - self.size) >> 8), below[:, -1:] >> 8, rounding_mode="floor")
        self.tables.copy_(torch.arange(self.size + 1, device=share.device) + share.clamp(max=TOTAL - self.size))
        self.tables[:, -1] = TOTAL
        self.stale.fill_(False)

    def _mass(self, values: Tensor) -> Tensor:
        def shaped(parameter: Tensor) -> Tensor:
            return parameter[None, :, None, None]

        away = values.unsqueeze(-1) - shaped(self.means)
        width = shaped(self.log_scales.exp())
        # towards the side where the sigmoids are small, so that their difference keeps its digits
        side = -away.detach().sign()
        upper, lower = (torch.sigmoid(side * (away + half) / width) for half in (0.5, -0.5))
        return ((upper - lower).abs() * shaped(self.logits.softmax(-1))).sum(-1)
