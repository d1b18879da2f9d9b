"""Convolutions that own their padding: n positions become ceil(n / stride), for every n >= 1 and any number of axes.

The padding and trimming rules are those of EnCodec's published code (https://arxiv.org/abs/2210.13438, section 3.2).
"""

import math
from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from neuralcodecs.errors import CodecError

PadMode = Literal["constant", "reflect", "replicate"]
Norm = Literal["weight_norm", "time_group_norm", "none"]
ConvNd = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONVS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
"""By number of axes."""
ConvTransposeNd = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


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


class Conv(nn.Module):
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
        return self.norm(self.conv(self.pad(signal)))

    def pad(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *padded"]:
        """The signal with this convolution's padding; the only thing that streaming replaces by its state."""
        lengths = signal.shape[2:]
        amounts = [
            (left, right + -length % stride)
            for length, stride, (left, right) in zip(lengths, self.stride, self.padding, strict=True)
        ]
        return pad(signal, amounts, self.pad_mode)


class TransposedConv(nn.Module):
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
        output = self.norm(self.conv(signal))
        lengths = output.shape[2:]
        kept = (slice(left, n - right) for n, (left, right) in zip(lengths, self.trim, strict=True))
        return output[(slice(None), slice(None), *kept)]


def pad(
    signal: Float[Tensor, "b c *space"], amounts: list[tuple[int, int]], mode: PadMode
) -> Float[Tensor, "b c *padded"]:
    """Add ``(left, right)`` positions to each axis after the channels.

    A reflection longer than the signal allows is made of the signal followed by zeros, of which as many positions
    are then cut from the end as zeros were added (EnCodec's rule).
    """
    if not any(left or right for left, right in amounts):
        return signal
    if mode != "reflect":
        return F.pad(signal, _last_axis_first(amounts), mode)
    lengths = signal.shape[2:]
    missing = [max(0, max(sides) - n + 1) for n, sides in zip(lengths, amounts, strict=True)]
    if not any(missing):
        return F.pad(signal, _last_axis_first(amounts), mode)
    longer = F.pad(signal, _last_axis_first([(0, m) for m in missing]))
    padded = F.pad(longer, _last_axis_first(amounts), mode)
    kept = (slice(0, n - m) for n, m in zip(padded.shape[2:], missing, strict=True))
    return padded[(slice(None), slice(None), *kept)]


def pad_to(signal: Float[Tensor, "b c *space"], shape: tuple[int, ...]) -> Float[Tensor, "b c *padded"]:
    """Repeat the last values of each axis up to ``shape``."""
    return pad(signal, [(0, want - n) for n, want in zip(signal.shape[2:], shape, strict=True)], "replicate")


def _last_axis_first(amounts: list[tuple[int, int]]) -> list[int]:
    return [side for sides in reversed(amounts) for side in sides]


def _kernel_eff(conv: ConvNd | ConvTransposeNd) -> tuple[int, ...]:
    return tuple((k - 1) * d + 1 for k, d in zip(conv.kernel_size, conv.dilation, strict=True))


def _check(conv: ConvNd | ConvTransposeNd, causal: bool, norm: Norm) -> None:
    kernel, stride = _kernel_eff(conv), tuple(conv.stride)
    if any(k < s for k, s in zip(kernel, stride, strict=True)):
        raise CodecError(f"kernel {kernel} is smaller than stride {stride}: it would skip samples; enlarge it")
    if causal and norm == "time_group_norm":
        raise CodecError("time_group_norm looks at the whole signal, so it cannot be causal: use weight_norm")
