"""Norms of a decoder that look at the latents again: AdaGN of Open-MAGVIT2 and WeTok, SpatialNorm of MoVQ."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.configured import Configured
from neuralcodecs.layers import CONVS, group_norm


class ConditionalNorm(Configured, nn.Module, ABC):
    """Normalises features, scaled and shifted by what it makes of the decoder's latents."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "b c *space"], latents: Float[Tensor, "b d *grid"]
    ) -> Float[Tensor, "b c *space"]: ...


ConditionalNormFactory = Callable[[int, int, int], ConditionalNorm]
"""Called with ``channels, dim, axes``."""


class AdaptiveGroupNorm(ConditionalNorm):
    """Group norm with scale and bias per channel from the latents' spread and mean over all positions.

    ``x = Linear(std(latents)) * norm(x) + Linear(mean(latents))``, the norm without weights of its own
    (https://arxiv.org/abs/2409.04410, section 3.2). The deviation is of all positions (divided by n, not n - 1), so
    that one position has one. Starts with scale 1 and bias 0.
    It looks at the whole picture: a decoder with it is not local, so tiles differ from the whole.
    """

    def __init__(self, channels: int, dim: int, axes: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, affine=False)
        self.scale, self.bias = nn.Linear(dim, channels), nn.Linear(dim, channels)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        nn.init.ones_(self.scale.bias)

    def forward(
        self, x: Float[Tensor, "b c *space"], latents: Float[Tensor, "b d *grid"]
    ) -> Float[Tensor, "b c *space"]:
        flat = latents.flatten(2)
        deviation = (flat.var(dim=-1, correction=0) + 1e-6).sqrt()
        ones = (1,) * (x.ndim - 2)
        scale, bias = (v.view(*v.shape, *ones) for v in (self.scale(deviation), self.bias(flat.mean(dim=-1))))
        return scale * self.norm(x) + bias


class SpatialNorm(ConditionalNorm):
    """Group norm with scale and bias per channel and position (https://arxiv.org/abs/2209.09002, section 3.2).

    ``x = norm(x) * Conv1(up(latents)) + Conv1(up(latents))``, up being nearest-neighbour. Starts with scale 1, bias 0.
    """

    def __init__(self, channels: int, dim: int, axes: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.scale, self.bias = CONVS[axes](dim, channels, 1), CONVS[axes](dim, channels, 1)
        for parameter in (*self.scale.parameters(), *self.bias.parameters()):
            nn.init.zeros_(parameter)
        assert self.scale.bias is not None
        nn.init.ones_(self.scale.bias)

    def forward(
        self, x: Float[Tensor, "b c *space"], latents: Float[Tensor, "b d *grid"]
    ) -> Float[Tensor, "b c *space"]:
        size = tuple(x.shape[2:])
        # a convolution of kernel 1 commutes with repeating: applied first, it costs a fraction
        scale, bias = (F.interpolate(layer(latents), size=size, mode="nearest") for layer in (self.scale, self.bias))
        return self.norm(x) * scale + bias
