"""Selective scan over pictures in plain torch: four directions of a state-space model (https://arxiv.org/abs/2401.10166).

    x -> norm -> two halves: one -> depthwise conv 3, SiLU -> scan in four directions, summed -> norm; times SiLU(other)

Published with CUDA kernels (Mamba, https://arxiv.org/abs/2312.00752); here positions are taken a block at a time, in
which the recurrence is a scan by doubling.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

BLOCK = 64
"""Positions that are scanned at once: bounds memory, changes nothing but rounding."""
DIRECTIONS = 4
SLOWEST, FASTEST = 1e-3, 0.1
"""Range of step sizes of fresh weights."""


def scan(decay: Float[Tensor, "b n *state"], drive: Float[Tensor, "b n *state"]) -> Float[Tensor, "b n *state"]:
    """States ``h[t] = decay[t] * h[t - 1] + drive[t]``, from zero, along the second axis."""
    states, last = [], torch.zeros_like(drive[:, :1])
    for a, b in zip(decay.split(BLOCK, 1), drive.split(BLOCK, 1), strict=True):
        reach = 1
        while reach < a.shape[1]:
            b = torch.cat([b[:, :reach], b[:, reach:] + a[:, reach:] * b[:, :-reach]], 1)
            a = torch.cat([a[:, :reach], a[:, reach:] * a[:, :-reach]], 1)
            reach *= 2
        states.append(b + a * last)
        last = states[-1][:, -1:]
    return torch.cat(states, 1)


class SelectiveScan(nn.Module):
    """One direction: a state of ``size`` numbers per channel whose decay and input depend on the signal.

    Args:
        channels: of the signal.
        size: of the state.
    """

    def __init__(self, channels: int, size: int = 16) -> None:
        super().__init__()
        self.size, self.rank = size, max(1, channels // 32)
        self.select = nn.Linear(channels, self.rank + 2 * size, bias=False)
        self.pace = nn.Linear(self.rank, channels)
        self.log_decay = nn.Parameter(torch.arange(1, size + 1).float().log().repeat(channels, 1))
        self.skip = nn.Parameter(torch.ones(channels))
        pace = torch.exp(torch.rand(channels) * math.log(FASTEST / SLOWEST) + math.log(SLOWEST))
        with torch.no_grad():
            self.pace.bias.copy_(pace + torch.log(-torch.expm1(-pace)))  # the inverse of softplus

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        slow, into, out = self.select(x).split([self.rank, self.size, self.size], -1)
        step = F.softplus(self.pace(slow)).unsqueeze(-1)
        decay = torch.exp(-step * self.log_decay.exp())
        states = scan(decay, step * into.unsqueeze(-2) * x.unsqueeze(-1))
        return (states * out.unsqueeze(-2)).sum(-1) + self.skip * x


class ScanBlock(nn.Module):
    """A residual block around scans of a picture by rows and columns, both ways.

    Args:
        channels: of the signal.
        state: size of the state.
        expansion: of the channels inside.
    """

    def __init__(self, channels: int, state: int = 16, expansion: int = 2) -> None:
        super().__init__()
        inner = channels * expansion
        self.norm, self.inner_norm = nn.LayerNorm(channels), nn.LayerNorm(inner)
        self.enter, self.leave = nn.Linear(channels, 2 * inner), nn.Linear(inner, channels)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.scans = nn.ModuleList(SelectiveScan(inner, state) for _ in range(DIRECTIONS))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        signal, gate = self.enter(self.norm(x.movedim(1, -1))).chunk(2, -1)
        signal = F.silu(self.conv(signal.movedim(-1, 1)))
        total: Tensor | float = 0.0
        for index, layer in enumerate(self.scans):
            turned = signal.transpose(-1, -2) if index % 2 else signal
            line = turned.flatten(2).transpose(1, 2)
            line = self._scanned(layer, line.flip(1)).flip(1) if index // 2 else self._scanned(layer, line)
            back = line.transpose(1, 2).reshape(turned.shape)
            total = total + (back.transpose(-1, -2) if index % 2 else back)
        assert isinstance(total, Tensor)
        merged = self.inner_norm(total.movedim(1, -1)) * F.silu(gate)
        return x + self.leave(merged).movedim(-1, 1)

    def _scanned(self, layer: nn.Module, line: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        # the states of all positions, at every doubling, would be kept for the gradients: computed twice instead
        return checkpoint(layer, line, use_reentrant=False) if self.training else layer(line)
