"""Convolutions that own their padding: n positions become ceil(n / stride), for every n >= 1 and any number of axes.

The padding and trimming rules are those of EnCodec's published code (https://arxiv.org/abs/2210.13438, section 3.2).
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from neuralcodecs.errors import CodecError
from neuralcodecs.layers.folded import ConvNd, ConvTransposeNd, Folded
from neuralcodecs.layers.padding import PadMode, pad
from neuralcodecs.layers.streamed import State, Streamed

Norm = Literal["weight_norm", "time_group_norm", "none"]
CONVS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
"""By number of axes."""
WAITING = -1
"""Phase of a stream's convolution whose left padding is not known yet."""


def _weight_norm(conv: ConvNd | ConvTransposeNd) -> nn.Module:
    weight_norm(conv)
    return nn.Identity()


def _time_group_norm(conv: ConvNd | ConvTransposeNd) -> nn.Module:
    return nn.GroupNorm(1, conv.out_channels)


def _no_norm(conv: ConvNd | ConvTransposeNd) -> nn.Module:
    return nn.Identity()


# each prepares the convolution and gives the module that follows it
_NORMS: dict[Norm, Callable[[ConvNd | ConvTransposeNd], nn.Module]] = {
    "weight_norm": _weight_norm,
    "time_group_norm": _time_group_norm,
    "none": _no_norm,
}


class Conv(Streamed):
    """A convolution that pads its input so that every window is full and the output has ceil(n / stride) positions.

    ``padding_total = kernel_eff - stride`` positions are added around the signal, and as many on the right as its
    last window lacks. Causal: all of ``padding_total`` goes to the left of the first axis (time), so an output sees
    no later window; that is strict only for ``constant`` and ``replicate``, because ``reflect`` fills the left of the
    first windows with later samples. Otherwise, and on the further axes, the right side gets the smaller half.

    Args:
        conv: the unpadded convolution, of any number of axes.
        causal: no look-ahead along the first axis.
        pad_mode: what the padding holds.
        norm: ``weight_norm`` of the kernel; ``time_group_norm``, one group over channels and all positions, after the
            convolution (needs the whole signal, so never causal); or ``none``.
    """

    def __init__(self, conv: ConvNd, causal: bool = False, pad_mode: PadMode = "constant", norm: Norm = "none") -> None:
        super().__init__()
        _check(conv, causal, norm)
        self.conv = conv
        self.norm = _NORMS[norm](conv)
        self.folded = Folded()
        self.whole_signal = norm == "time_group_norm"
        self.causal = causal
        self.pad_mode = pad_mode
        self.kernel_eff = _kernel_eff(conv)
        self.stride = tuple(conv.stride)
        self.padding_total = tuple(k - s for k, s in zip(self.kernel_eff, self.stride, strict=True))
        self.padding = tuple(
            (total, 0) if causal and axis == 0 else (total - total // 2, total // 2)
            for axis, total in enumerate(self.padding_total)
        )

    def forward(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b d *grid"]:
        amounts = self._amounts(signal.shape[2:])
        even = self.pad_mode == "constant" and all(left == right for left, right in amounts)
        if even and signal.is_cuda:
            # the convolution's own zeros spare a copy of the signal
            return self.norm(self.folded(self.conv, signal, tuple(left for left, _ in amounts)))
        return self.norm(self.folded(self.conv, pad(signal, amounts, self.pad_mode)))

    def pad(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *padded"]:
        """The signal with this convolution's padding."""
        return pad(signal, self._amounts(signal.shape[2:]), self.pad_mode)

    def _amounts(self, lengths: tuple[int, ...]) -> list[tuple[int, int]]:
        """Positions to add to the left and to the right of each axis."""
        return [
            (left, right + -length % stride)
            for length, stride, (left, right) in zip(lengths, self.stride, self.padding, strict=True)
        ]

    def start(self, batch: int) -> State:
        """No position yet: the left padding needs the first ``held`` ones."""
        _check_streamable(self, self.stride, self.whole_signal)
        buffer = next(self.conv.parameters()).new_zeros(batch, self.conv.in_channels, 0)
        return State((buffer,), (WAITING,)) if self.held else State((self._padded_left(buffer),), (0,))

    def step(self, x: Float[Tensor, "b c t"], state: State, last: bool) -> tuple[Float[Tensor, "b d n"], State]:
        """The state is the input from the next window on, and where that window starts in it."""
        (buffer,), (begin,) = state.tensors, state.phase
        buffer = torch.cat([buffer, x], dim=-1)
        if begin == WAITING:
            if last and 0 < buffer.shape[-1] < self.held:
                return self(buffer), state
            if buffer.shape[-1] < self.held:
                return self._nothing(buffer), State((buffer,), (WAITING,))
            buffer, begin = self._padded_left(buffer), 0
        if last:
            buffer = self._close(buffer, begin)
        (kernel,), (stride,) = self.kernel_eff, self.stride
        windows = max(0, (buffer.shape[-1] - begin - kernel) // stride + 1)
        following = begin + windows * stride
        output = self.folded(self.conv, buffer[..., begin:]) if windows else self._nothing(buffer)
        dropped = max(0, min(following, buffer.shape[-1] - self.mirrored))
        return output, State((buffer[..., dropped:],), (following - dropped,))

    def reach(self, position: int) -> int:
        _check_streamable(self, self.stride, self.whole_signal)
        ((left, _),) = self.padding
        return max(position * self.stride[0] + self.kernel_eff[0] - 1 - left, self.held - 1)

    @property
    def mirrored(self) -> int:
        """Positions at the end of the signal that its padding may copy."""
        furthest = self.padding[0][1] + self.stride[0] - 1
        return {"constant": 0, "replicate": 1, "reflect": furthest + 1}[self.pad_mode] if furthest else 0

    @property
    def held(self) -> int:
        """Positions at the start of the signal without which its padding is not known."""
        left = self.padding[0][0]
        return max(self.mirrored, {"constant": 0, "replicate": 1, "reflect": left + 1}[self.pad_mode] if left else 0)

    def _padded_left(self, buffer: Float[Tensor, "b c t"]) -> Float[Tensor, "b c padded"]:
        return pad(buffer, [(self.padding[0][0], 0)], self.pad_mode)

    def _nothing(self, like: Tensor) -> Float[Tensor, "b d 0"]:
        return like.new_zeros(len(like), self.conv.out_channels, 0)

    def _close(self, buffer: Float[Tensor, "b c t"], begin: int) -> Float[Tensor, "b c padded"]:
        ((left, right),), (stride,) = self.padding, self.stride
        # the next window starts at a multiple of the stride, so this is the length's remainder too
        incomplete = -(buffer.shape[-1] - begin - left) % stride
        return pad(buffer, [(0, right + incomplete)], self.pad_mode)


class TransposedConv(Streamed):
    """A transposed convolution that trims what overlaps the ends: n positions become exactly n * stride.

    ``padding_total = kernel_eff - stride`` positions are cut. Causal: ``ceil(padding_total * trim_right_ratio)`` of
    them on the right of the first axis (time), the rest on the left. Otherwise, and on the further axes, the right
    side loses the smaller half. A group norm sees the output before it is cut.

    Args:
        conv: the untrimmed transposed convolution, of any number of axes.
        causal: with a ratio of 1, an output position sees no later input.
        norm: as for ``Conv``.
        trim_right_ratio: share of the cut on the right; other than 1 for causal convolutions only.
    """

    def __init__(
        self, conv: ConvTransposeNd, causal: bool = False, norm: Norm = "none", trim_right_ratio: float = 1.0
    ) -> None:
        super().__init__()
        _check(conv, causal, norm)
        if not 0 <= trim_right_ratio <= 1 or (trim_right_ratio != 1 and not causal):
            raise CodecError(f"trim_right_ratio {trim_right_ratio}: use 0 to 1 when causal, 1 otherwise")
        self.conv = conv
        self.norm = _NORMS[norm](conv)
        self.folded = Folded()
        self.whole_signal = norm == "time_group_norm"
        self.causal = causal
        self.kernel_eff = _kernel_eff(conv)
        self.stride = tuple(conv.stride)
        self.padding_total = tuple(k - s for k, s in zip(self.kernel_eff, self.stride, strict=True))
        rights = [
            math.ceil(total * trim_right_ratio) if causal and axis == 0 else total // 2
            for axis, total in enumerate(self.padding_total)
        ]
        self.trim = tuple((total - right, right) for total, right in zip(self.padding_total, rights, strict=True))

    def forward(self, signal: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b d *space"]:
        output = self.norm(self.folded(self.conv, signal))
        lengths = output.shape[2:]
        kept = (slice(left, n - right) for n, (left, right) in zip(lengths, self.trim, strict=True))
        return output[(slice(None), slice(None), *kept)]

    def start(self, batch: int) -> State:
        """Zeros before the first position, and how many positions of the output are still to be cut on the left."""
        _check_streamable(self, self.stride, self.whole_signal)
        before = next(self.conv.parameters()).new_zeros(batch, self.conv.in_channels, self._overlapping)
        return State((before,), (self.trim[0][0],))

    def step(self, x: Float[Tensor, "b c n"], state: State, last: bool) -> tuple[Float[Tensor, "b d t"], State]:
        """The state is the inputs whose outputs overlap those of the next: they are computed again."""
        (before,), (cut,) = state.tensors, state.phase
        (stride,), ((_, right),) = self.stride, self.trim
        if not x.shape[-1] and not (last and before.shape[-1]):
            return x.new_zeros(len(x), self.conv.out_channels, 0), state
        inputs = torch.cat([before, x], dim=-1)
        output = self.folded(self.conv, inputs)
        begin = before.shape[-1] * stride
        stop = output.shape[-1] - right if last else inputs.shape[-1] * stride
        left = min(cut, stop - begin)
        following = inputs[..., inputs.shape[-1] - before.shape[-1] :]
        return output[..., begin + left : stop], State((following,), (cut - left,))

    def reach(self, position: int) -> int:
        _check_streamable(self, self.stride, self.whole_signal)
        return (position + self.trim[0][0]) // self.stride[0]

    @property
    def _overlapping(self) -> int:
        return (self.kernel_eff[0] - 1) // self.stride[0]


def _kernel_eff(conv: ConvNd | ConvTransposeNd) -> tuple[int, ...]:
    return tuple((k - 1) * d + 1 for k, d in zip(conv.kernel_size, conv.dilation, strict=True))


def _check(conv: ConvNd | ConvTransposeNd, causal: bool, norm: Norm) -> None:
    kernel, stride = _kernel_eff(conv), tuple(conv.stride)
    if any(k < s for k, s in zip(kernel, stride, strict=True)):
        raise CodecError(f"kernel {kernel} is smaller than stride {stride}: it would skip samples; enlarge it")
    if causal and norm == "time_group_norm":
        raise CodecError("time_group_norm looks at the whole signal, so it cannot be causal: use weight_norm")


def _check_streamable(layer: Streamed, stride: tuple[int, ...], whole_signal: bool) -> None:
    if whole_signal:
        raise layer.unable("time_group_norm is computed over the whole signal")
    if len(stride) != 1:
        raise layer.unable(f"it has {len(stride)} axes, and a stream has one")
