"""PatchGAN: convolutions that judge overlapping patches. https://arxiv.org/abs/1611.07004, section 3.2.2"""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.criteria import Discriminator, Verdict
from neuralcodecs.errors import CodecError

WIDEST = 8
"""Largest multiple of ``filters`` that a layer has."""
NormFactory = Callable[[int], nn.Module]
DownFactory = Callable[[int, int, bool], nn.Module]


class StridedConv(nn.Conv2d):
    """4x4 of stride 2, as published."""

    def __init__(self, inside: int, outside: int, bias: bool = True) -> None:
        super().__init__(inside, outside, 4, 2, padding=1, bias=bias)


class BlurredConv(nn.Module):
    """4x4 of stride 1, then a binomial low-pass 1-3-3-1 of stride 2, so that shifts alias less.

    https://arxiv.org/abs/1904.11486; in discriminators: MaskBit, https://arxiv.org/abs/2409.16211.
    """

    kernel: Tensor

    def __init__(self, inside: int, outside: int, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 4, padding=1, bias=bias)
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(row, row).expand(outside, 1, 4, 4).clone(), persistent=False)

    def forward(self, x: Float[Tensor, "b k h w"]) -> Float[Tensor, "b l m n"]:
        # 1 and 2: the convolution has taken one row and column, and half of the input's is wanted
        padded = F.pad(self.conv(x), (1, 2, 1, 2), mode="replicate")
        return F.conv2d(padded, self.kernel.to(padded.dtype), stride=2, groups=len(self.kernel))


class PatchGAN(Discriminator):
    """Layers of 4x4 convolutions, each with a leaky ReLU of 0.2: stride 2 ``layers`` times, then 1, then logits.

    Widths: ``filters`` times 1, 2, 4, 8, 8 ... All but the first and the last convolution are normalized and have no
    bias. Weights are drawn from N(0, 0.02), those of norms from N(1, 0.02). One verdict: logits ``(b, 1, m, n)``, each
    of a patch of 70 x 70 pixels for 3 layers (StridedConv), and ``layers + 1`` feature maps.

    Batch norm: its statistics are those of the real or of the decoded signals of a batch, as in published trainers, so
    a verdict depends on the whole batch. ``norm: torch.nn.InstanceNorm2d`` makes every verdict independent of the
    others. Under DDP statistics are per process; the Trainer's ``sync_batchnorm`` joins them.

    Args:
        channels: of the picture.
        filters: width of the first layer.
        layers: of stride 2, at least 1.
        norm: called with the channels; None for BatchNorm2d as published.
        down: layer of stride 2, called with channels inside and outside and whether it has a bias; None for
            ``StridedConv``.
    """

    def __init__(
        self,
        channels: int = 3,
        filters: int = 64,
        layers: int = 3,
        norm: NormFactory | None = None,
        down: DownFactory | None = None,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise CodecError(f"layers {layers}: give at least 1")
        norm, down = norm or nn.BatchNorm2d, down or StridedConv
        widths = [filters * min(2**n, WIDEST) for n in range(layers + 1)]
        self.smallest = 3 * 2**layers
        stages = [nn.Sequential(down(channels, widths[0], True), nn.LeakyReLU(0.2))]
        for inside, outside in pairwise(widths[:-1]):
            stages.append(nn.Sequential(down(inside, outside, False), norm(outside), nn.LeakyReLU(0.2)))
        last = nn.Conv2d(widths[-2], widths[-1], 4, padding=1, bias=False)
        stages.append(nn.Sequential(last, norm(widths[-1]), nn.LeakyReLU(0.2)))
        self.stages = nn.ModuleList(stages)
        self.logits = nn.Conv2d(widths[-1], 1, 4, padding=1)
        self.apply(_initialize)

    def forward(self, signal: Float[Tensor, "b c h w"]) -> list[Verdict]:
        if min(signal.shape[2:]) < self.smallest:
            raise CodecError(
                f"pictures of {tuple(signal.shape[2:])} pixels are too small for this PatchGAN: train on crops of at "
                f"least {self.smallest}, or with fewer layers"
            )
        features = []
        x = signal
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return [Verdict(self.logits(x), features)]


def _initialize(module: nn.Module) -> None:
    """By what there is to draw: convolutions have weights of 4 axes, norms of 1."""
    for name, parameter in module.named_parameters(recurse=False):
        if name == "bias":
            nn.init.zeros_(parameter)
        else:
            nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.02)
