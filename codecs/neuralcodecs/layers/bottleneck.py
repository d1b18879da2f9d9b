"""Residual bottlenecks without normalization, which keep amplitudes (ELIC, https://arxiv.org/abs/2203.10886)."""

from jaxtyping import Float
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """``x`` plus convolutions of kernels 1, 3, 1 through half as many channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = max(1, width // 2)
        last = nn.Conv2d(half, width, 1)
        self.layers = nn.Sequential(
            nn.Conv2d(width, half, 1),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1),
            nn.ReLU(),
            last,
        )
        nn.init.zeros_(last.weight)  # fresh, it is the identity

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.layers(x)


def bottlenecks(width: int, count: int) -> list[nn.Module]:
    return [Bottleneck(width) for _ in range(count)]
