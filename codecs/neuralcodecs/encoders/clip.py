"""Causal encoder of clips: CDT's, but for its first frame (https://arxiv.org/abs/2503.03708, section 3)."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import Chain, State, Streamed, keep_variance
from neuralcodecs.layers.clip import ChannelNorm, ClipBlock, ClipConv, Rectifier


class ClipEncoder(Encoder):
    """Clips ``(b, c, t, h, w)`` of any size to latents; a latent knows its own frames and those before.

        Conv 3 x 7 x 7 -> per level [blocks, Conv 1 x 3 x 3 halving height and width, Conv 3 x 1 x 1 halving time]
                       -> norm, ReLU, Conv 3

    n frames become ceil(n / stride). CDT codes 1 + 4 k frames as 1 + k latents, the first of one frame alone; here
    every latent has as many frames, as every other codec's grid has. Base CDT: ``width=128``; small: ``width=64,
    space=[2, 2, 2, 1]``.

    Args:
        channels: of the clip.
        dim: of the latents.
        width: channels of the first level.
        multipliers: of the width, one per level.
        space: by which height and width shrink after each level, 1 or 2.
        time: by which the number of frames does.
        blocks: residual blocks per level.
    """

    def __init__(
        self,
        channels: int = 3,
        dim: int = 32,
        width: int = 64,
        multipliers: tuple[int, ...] = (1, 2, 3, 4),
        space: tuple[int, ...] = (1, 2, 2, 2),
        time: tuple[int, ...] = (1, 1, 2, 2),
        blocks: int = 1,
    ) -> None:
        super().__init__()
        if not len(multipliers) == len(space) == len(time) or not {*space, *time} <= {1, 2}:
            raise CodecError(f"space {space} and time {time} for {len(multipliers)} levels: give a 1 or 2 for each")
        self.channels, self.dim = channels, dim
        self.strides = (math.prod(time), math.prod(space), math.prod(space))
        before = width * multipliers[0]
        layers: list[Streamed] = [ClipConv(keep_variance(nn.Conv3d(channels, before, (3, 7, 7))))]
        for multiplier, across, along in zip(multipliers, space, time, strict=True):
            now = width * multiplier
            layers += [ClipBlock(before if block == 0 else now, now) for block in range(blocks)]
            if across > 1:
                layers.append(ClipConv(keep_variance(nn.Conv3d(now, now, (1, 3, 3), (1, 2, 2)))))
            if along > 1:
                layers.append(ClipConv(keep_variance(nn.Conv3d(now, now, (3, 1, 1), (2, 1, 1)))))
            before = now
        layers += [ChannelNorm(before), Rectifier(), ClipConv(keep_variance(nn.Conv3d(before, dim, 3)))]
        self.layers = Chain(*layers)

    def forward(self, signal: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d *grid"]:
        return self.layers(signal)

    def frames(self, shape: Shape) -> Shape:
        return tuple(-(-n // s) for n, s in zip(shape, self.strides, strict=True))

    def start(self, batch: int) -> State:
        return self.layers.start(batch)

    def step(self, x: Float[Tensor, "b c t h w"], state: State, last: bool) -> tuple[Float[Tensor, "b d *grid"], State]:
        return self.layers.step(x, state, last)

    def reach(self, position: int) -> int:
        return self.layers.reach(position)
