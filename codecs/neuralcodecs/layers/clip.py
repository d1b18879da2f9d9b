"""Causal convolutions on clips ``(b, c, t, h, w)`` that can be streamed along their frames, the state being explicit.

CDT (https://arxiv.org/abs/2503.03708) keeps the frames that a convolution still needs in the module, in a list that all
calls share; here they come and go with every call.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.layers.conv import WAITING, Conv
from neuralcodecs.layers.initialisation import RELU_GAIN, keep_variance
from neuralcodecs.layers.padding import pad
from neuralcodecs.layers.residual import BRANCH_GAIN
from neuralcodecs.layers.streamed import Chain, Identity, Pointwise, State, Streamed


class ClipConv(Streamed):
    """A convolution of three axes, causal along the first, padded with zeros: n frames become ceil(n / stride).

    Args:
        conv: the unpadded convolution.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.padded = Conv(conv, causal=True)

    def forward(self, clip: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t2 h2 w2"]:
        return self.padded(clip)

    def start(self, batch: int) -> State:
        """No frame yet, so their size is not known."""
        conv = self.padded.conv
        return State((conv.weight.new_zeros(batch, conv.in_channels, 0, 0, 0),), (WAITING,))

    def step(
        self, x: Float[Tensor, "b c t h w"], state: State, last: bool
    ) -> tuple[Float[Tensor, "b d t2 h2 w2"], State]:
        """The state is the frames from the next window on."""
        (before,), (phase,) = state.tensors, state.phase
        (left, _), *across = self.padded.padding
        if phase == WAITING:
            before = x.new_zeros(*x.shape[:2], left, *x.shape[3:])
        buffer = torch.cat([before, x], dim=2)
        kernel, stride = self.padded.kernel_eff[0], self.padded.stride[0]
        missing = -(buffer.shape[2] - left) % stride if last else 0
        sizes = zip(buffer.shape[3:], self.padded.stride[1:], across, strict=True)
        around = [(low, high + -n % s) for n, s, (low, high) in sizes]
        whole = pad(buffer, [(0, missing), *around], "constant")
        windows = max(0, (whole.shape[2] - kernel) // stride + 1)
        if windows:
            output = self.padded.conv(whole[:, :, : (windows - 1) * stride + kernel])
        else:
            grid = (-(-n // s) for n, s in zip(x.shape[3:], self.padded.stride[1:], strict=True))
            output = x.new_zeros(len(x), self.padded.conv.out_channels, 0, *grid)
        return output, State((buffer[:, :, windows * stride :],), (0,))

    def reach(self, position: int) -> int:
        return position * self.padded.stride[0] + self.padded.stride[0] - 1


class ChannelNorm(Pointwise):
    """Layer norm over the channels of each position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class Rectifier(Pointwise):
    """ReLU."""

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        return F.relu(x)


class ClipBlock(Streamed):
    """[channel norm, ReLU, causal convolution of kernel 3] twice, plus the input (through a 1 x 1 x 1 where needed)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        first = keep_variance(nn.Conv3d(channels, out, 3), RELU_GAIN)
        second = keep_variance(nn.Conv3d(out, out, 3), RELU_GAIN * BRANCH_GAIN)
        self.branch = Chain(
            ChannelNorm(channels), Rectifier(), ClipConv(first), ChannelNorm(out), Rectifier(), ClipConv(second)
        )
        self.shortcut = Identity() if channels == out else ClipConv(keep_variance(nn.Conv3d(channels, out, 1)))

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t h w"]:
        return self.shortcut(x) + self.branch(x)

    def start(self, batch: int) -> State:
        return State(parts=(self.branch.start(batch), self.shortcut.start(batch)))

    def step(self, x: Float[Tensor, "b c t h w"], state: State, last: bool) -> tuple[Float[Tensor, "b d t h w"], State]:
        steps = zip((self.branch, self.shortcut), state.parts, strict=True)
        (h, branch), (y, shortcut) = (layer.step(x, part, last) for layer, part in steps)
        return y + h, State(parts=(branch, shortcut))

    def reach(self, position: int) -> int:
        return position
