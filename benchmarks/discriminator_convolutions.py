"""Convolutions of the MS-STFT discriminator over bins and over groups of bins: kernels alone, then the whole.

All as CUDA graphs, bf16, channels last, 64 x 1 s at 24 kHz. ``dgrad``: gradient at the input only; ``wgrad``: at the
weights only. Then what bias and activation cost after it, apart and in one pass.

    python benchmarks/discriminator_convolutions.py [--batch 64]
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from measure import CUDA, DEVICE, Job, clocked, machine, replayed
from torch import Tensor, nn

from neuralcodecs.audio.discriminators import MultiScaleSTFTDiscriminator, grouping
from neuralcodecs.audio.discriminators.grouping import in_groups
from neuralcodecs.layers.fused import biased_leaky, inputs_only
from neuralcodecs.layers.paths import PATHS, gpu_paths

SHAPES = [(44, 1040, 1, 1), (44, 1040, 1, 2), (44, 520, 2, 2), (44, 260, 4, 2), (372, 136, 1, 2)]
"""Frames, bins, dilation, stride; the one of stride 1 has two channels."""
SIZES = (1, 2, 4)
Way = Callable[[nn.Conv2d], int]


def kernels(batch: int, frames: int, bins: int, dilation: int, stride: int) -> None:
    dtype = torch.bfloat16 if CUDA else torch.float32
    last = torch.channels_last
    channels = 2 if stride == 1 else 32
    x = torch.randn(batch, channels, frames, bins, device=DEVICE, dtype=dtype).contiguous(memory_format=last)
    weight = (0.1 * torch.randn(32, channels, 3, 9, device=DEVICE, dtype=dtype)).contiguous(memory_format=last)

    def over(size: int, x: Tensor, weight: Tensor) -> Tensor:
        if size == 1:
            return F.conv2d(x, weight, None, (1, stride), (dilation, 4), (dilation, 1))
        return in_groups(x, weight, dilation, size, stride)

    for size in SIZES:
        leaf, learned = x.detach().requires_grad_(), weight.detach().requires_grad_()
        outputs = {"dgrad": over(size, leaf, weight), "wgrad": over(size, x, learned)}
        upstream = torch.randn_like(outputs["dgrad"])
        jobs: dict[str, Job] = {
            "forward": partial(over, size, x, weight),
            "dgrad": partial(torch.autograd.grad, outputs["dgrad"], leaf, upstream, True),
            "wgrad": partial(torch.autograd.grad, outputs["wgrad"], learned, upstream, True),
        }
        cells = "  ".join(f"{key} {clocked(replayed(job)).ms:6.3f}" for key, job in jobs.items())
        print(f"groups of {size}: {channels} x {frames} x {bins}, dilation {dilation}:  {cells}", flush=True)
    plain = over(1, x, weight).float()
    differences = [float((over(size, x, weight).float() - plain).norm() / plain.norm()) for size in SIZES[1:]]
    print("  relative differences", *(f"{difference:.1e}" for difference in differences))


def activation(batch: int) -> None:
    x = torch.randn(batch, 32, 44, 1032, device=DEVICE).contiguous(memory_format=torch.channels_last)
    bias = torch.randn(32, device=DEVICE)
    for paths in ((), ("fused",)):
        with gpu_paths(paths):
            ms = clocked(replayed(partial(biased_leaky, x, bias, 0.2, 1025))).ms
        print(f"bias and activation, {'in one pass' if paths else 'apart'}: {ms:.3f}")


def whole(batch: int) -> None:
    real = 0.1 * torch.randn(batch, 1, 24000 if CUDA else 2400, device=DEVICE)
    usual = grouping.group
    ways: dict[str, Way] = {
        "by bins": lambda conv: 1,
        "as usual": usual,
        "fours where it halves": lambda conv: 4 if conv.stride[1] == 2 else usual(conv),
        "first by bins": lambda conv: 1 if conv.stride[1] == 1 else usual(conv),
    }
    for name, way in ways.items():
        torch.manual_seed(0)
        judge = MultiScaleSTFTDiscriminator().to(DEVICE)
        grouping.group = way
        leaf = real.clone().requires_grad_()

        def run(own: bool, at_leaf: bool, judge: nn.Module = judge, leaf: Tensor = leaf) -> None:
            grad, cast = (
                torch.set_grad_enabled(own or at_leaf),
                torch.autocast(DEVICE.type, torch.bfloat16, enabled=CUDA),
            )
            with grad, cast, gpu_paths(PATHS):
                loss = torch.stack([v.logits.float().mean() for v in judge(leaf if at_leaf else real)]).sum()
            if own:
                torch.autograd.grad(loss, list(judge.parameters()))
            if at_leaf:
                with inputs_only():
                    torch.autograd.grad(loss, leaf)

        work = ((False, False), (True, False), (False, True))
        times = [clocked(replayed(partial(run, *which))).ms for which in work]
        print(
            f"{name:22s} forward {times[0]:.2f}, with own gradients {times[1]:.2f}, "
            f"with gradient at the signal {times[2]:.2f} ms",
            flush=True,
        )
    grouping.group = usual


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64 if CUDA else 1)
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    print(f"{machine()}; milliseconds")
    whole(options.batch)
    for shape in SHAPES:
        kernels(options.batch, *shape)
    activation(options.batch)


if __name__ == "__main__":
    main()
