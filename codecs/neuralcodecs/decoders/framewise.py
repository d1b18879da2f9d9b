"""Generative decoding of clips frame by frame, the frames joined by a causal condition only: CDT's way
(https://arxiv.org/abs/2503.03708, section 3), which makes chunks of a clip decode as the whole does.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.decoders.condition import Condition, Conditioner, Widths, stretched
from neuralcodecs.decoders.network import Network, NetworkFactory
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import Chain, State, keep_variance
from neuralcodecs.layers.clip import ClipBlock, ClipConv


class Framewise(Network):
    """A network of two axes on every frame of a clip by itself.

    Args:
        channels, axes, widths: as for every network; three axes, no tokens and no vector.
        network: called with ``channels``, 2 and the widths.
    """

    made_by_codec = {"network": ("channels", "axes", "widths")}
    framewise = True

    def __init__(self, channels: int, axes: int, widths: Widths, network: NetworkFactory) -> None:
        super().__init__()
        if axes != 3 or widths.parts != ("maps",):
            raise CodecError(f"frames have maps as a condition, and clips 3 axes: not {widths.parts} and {axes}")
        self.network = network(channels, 2, widths)

    def forward(
        self,
        x: Float[Tensor, "b c t h w"],
        time: Float[Tensor, " b"],
        guidance: Float[Tensor, " b"],
        condition: Condition,
    ) -> Float[Tensor, "b c t h w"]:
        count = x.shape[2]
        maps = tuple(_frames(one) for one in condition.maps)
        times, scales = (value.repeat_interleave(count) for value in (time, guidance))
        return self.network(_frames(x), times, scales, Condition(maps)).unflatten(0, (-1, count)).transpose(1, 2)

    def sizes(self, size: Shape) -> tuple[Shape, ...]:
        return tuple((size[0], *level) for level in self.network.sizes(size[1:]))


class CausalPyramid(Conditioner):
    """A map per frame for each of the network's finest levels, of this frame's latents and those before.

        latents -> Conv 3 -> every latent once per frame -> coarsest map -> [stretched, block] ... -> finest map

    Args:
        dim, strides: of the latents.
        widths: channels at each level, the finest first.
        blocks: causal blocks at each level.
    """

    def __init__(self, dim: int, strides: Shape, widths: tuple[int, ...] = (32, 64, 64), blocks: int = 1) -> None:
        super().__init__()
        if len(strides) != 3:
            raise CodecError(f"strides {tuple(strides)}: a causal pyramid is for clips, of 3 axes")
        self.strides, self.widths = tuple(strides), Widths(maps=tuple(widths))
        self.first = ClipConv(keep_variance(nn.Conv3d(dim, widths[-1], 3)))
        befores = (*widths[1:], widths[-1])
        self.levels = nn.ModuleList(
            Chain(*(ClipBlock(a if block == 0 else b, b) for block in range(blocks)))
            for a, b in zip(befores, widths, strict=True)
        )

    def forward(self, latents: Float[Tensor, "b d *grid"], sizes: Sequence[Shape]) -> Condition:
        return self._maps(latents, sizes, self.first, list(self.levels))

    def start(self, batch: int) -> State:
        return State(parts=tuple(layer.start(batch) for layer in (self.first, *self.levels)))

    def step(
        self, latents: Float[Tensor, "b d *grid"], sizes: Sequence[Shape], state: State
    ) -> tuple[Condition, State]:
        """The maps of the frames of ``latents``, which follow those before; ``sizes``: of these frames' levels."""
        states = list(state.parts)

        def stepping(index: int, layer: nn.Module) -> Callable[[Tensor], Tensor]:
            def run(x: Tensor) -> Tensor:
                y, states[index] = layer.step(x, states[index], False)  # type: ignore[operator]
                return y

            return run

        first, *levels = (stepping(i, layer) for i, layer in enumerate((self.first, *self.levels)))
        return self._maps(latents, sizes, first, levels), State(parts=tuple(states))

    def _maps(
        self,
        latents: Tensor,
        sizes: Sequence[Shape],
        first: Callable[[Tensor], Tensor],
        levels: Sequence[Callable[[Tensor], Tensor]],
    ) -> Condition:
        x, maps = first(latents).repeat_interleave(self.strides[0], dim=2), []
        for level, size in reversed(list(zip(levels, sizes, strict=False))):
            x = level(torch.cat([stretched(frame, size[1:])[:, :, None] for frame in x.unbind(2)], dim=2))
            maps.append(x)
        return Condition(tuple(reversed(maps)))


def _frames(clip: Float[Tensor, "b c t h w"]) -> Float[Tensor, "bt c h w"]:
    return clip.transpose(1, 2).flatten(0, 1)
