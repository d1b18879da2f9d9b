"""Where a generative decoder draws: samples or pixels themselves, or another representation that leads back to them."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Codec
from neuralcodecs.codes import Shape
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import pad_to


class LatentSpace(Configured, nn.Module, ABC):
    """A representation of signals, of about unit variance. ``channels``: of the representation.

    It does not learn with the decoder: its parameters, if any, do not require gradients.
    """

    channels: int

    @abstractmethod
    def size(self, shape: Shape) -> Shape:
        """Of the representation of a signal of ``shape`` (axes after the channels)."""

    @abstractmethod
    def encode(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b r *size"]: ...

    @abstractmethod
    def decode(self, representation: Float[Tensor, "b r *size"]) -> Float[Tensor, "b c *space"]:
        """A signal at least as long as those whose representation has this size."""


SpaceFactory = Callable[[int, tuple[int, ...]], LatentSpace]
"""Called with ``channels, strides`` of the codec."""


class SignalSpace(LatentSpace):
    """The signal itself, times a number that gives it about unit variance.

    Args:
        channels, strides: of the codec.
        scale: 1 over the signal's usual standard deviation: about 2 for pictures, 10 to 20 for speech.
    """

    def __init__(self, channels: int, strides: Shape, scale: float = 1.0) -> None:
        super().__init__()
        self.channels, self.scale = channels, scale

    def size(self, shape: Shape) -> Shape:
        return shape

    def encode(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        return signal * self.scale

    def decode(self, representation: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        return representation / self.scale


class FoldedSpace(LatentSpace):
    """The signal with blocks of neighbours as channels: fewer positions, so a cheaper network, and nothing is lost.

    Args:
        channels, strides: of the codec.
        block: positions along each axis that become channels.
        scale: as for ``SignalSpace``.
    """

    def __init__(self, channels: int, strides: Shape, block: tuple[int, ...], scale: float = 1.0) -> None:
        super().__init__()
        if len(block) != len(strides) or min(block) < 1:
            raise CodecError(f"block {block} for a signal on {len(strides)} axes: give one size per axis")
        self.block, self.scale = tuple(block), scale
        self.channels = channels * torch.Size(block).numel()

    def size(self, shape: Shape) -> Shape:
        return tuple(-(-n // b) for n, b in zip(shape, self.block, strict=True))

    def encode(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b r *size"]:
        size, axes = self.size(tuple(signal.shape[2:])), len(self.block)
        whole = pad_to(signal, tuple(n * b for n, b in zip(size, self.block, strict=True)))
        split = whole.unflatten(-1, (size[-1], self.block[-1]))
        for axis in reversed(range(axes - 1)):
            split = split.unflatten(2 + axis, (size[axis], self.block[axis]))
        inside, outside = range(3, 3 + 2 * axes, 2), range(2, 2 + 2 * axes, 2)
        return split.permute(0, 1, *inside, *outside).flatten(1, 1 + axes) * self.scale

    def decode(self, representation: Float[Tensor, "b r *size"]) -> Float[Tensor, "b c *space"]:
        axes = len(self.block)
        split = (representation / self.scale).unflatten(1, (-1, *self.block))
        order = [place for axis in range(axes) for place in (2 + axes + axis, 2 + axis)]
        whole = split.permute(0, 1, *order)
        for axis in range(axes):
            whole = whole.flatten(2 + axis, 3 + axis)
        return whole


class CodecSpace(LatentSpace):
    """The latents of a frozen codec, not quantized: its decoder leads back.

    Its weights are saved with the decoder. A ``Stage`` takes them from that codec's own run
    (``modules: {decoder.space.codec: runs/a}``).

    Args:
        channels, strides: of the codec around it.
        codec: of the same medium.
        scale: 1 over the usual standard deviation of its latents.
        mean: their usual mean.
    """

    def __init__(self, channels: int, strides: Shape, codec: Codec, scale: float = 1.0, mean: float = 0.0) -> None:
        super().__init__()
        if codec.encoder.channels != channels or len(codec.encoder.strides) != len(strides):
            raise CodecError(
                f"a space of {codec.encoder.channels} channels on {len(codec.encoder.strides)} axes for a codec of "
                f"{channels} on {len(strides)}: give a codec of the same medium"
            )
        self.codec = codec.requires_grad_(False).eval()
        self.channels, self.scale, self.mean = codec.encoder.dim, scale, mean

    def train(self, mode: bool = True) -> "CodecSpace":
        super().train(mode)
        self.codec.eval()
        return self

    def size(self, shape: Shape) -> Shape:
        return self.codec.encoder.frames(shape)

    def encode(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b r *size"]:
        return (self.codec.encoder(signal) - self.mean) * self.scale

    def decode(self, representation: Float[Tensor, "b r *size"]) -> Float[Tensor, "b c *space"]:
        return self.codec.decoder(representation / self.scale + self.mean)
