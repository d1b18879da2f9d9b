"""Halving convolutions of the MS-STFT discriminator, strided and over pairs of bins: kernels alone, then the whole.

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

from neuralcodecs.audio.discriminators import MultiScaleSTFTDiscriminator, halving
from neuralcodecs.audio.discriminators.halving import in_pairs
from neuralcodecs.layers.fused import biased_leaky, inputs_only
from neuralcodecs.layers.paths import PATHS, gpu_paths

SHAPES = [(44, 1025, 1), (44, 513, 2), (44, 257, 4), (372, 129, 1)]
Way = Callable[[Tensor, Tensor, int], Tensor]


def strided(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    return F.conv2d(x, weight, None, (1, 2), (dilation, 4), (dilation, 1))


def activated(x: Tensor, bias: Tensor) -> Tensor:
    with gpu_paths(["fused"]):
        return biased_leaky(x, bias, 0.2)


def kernels(batch: int, frames: int, bins: int, dilation: int) -> None:
    dtype = torch.bfloat16 if CUDA else torch.float32
    last = torch.channels_last
    x = torch.randn(batch, 32, frames, bins, device=DEVICE, dtype=dtype).contiguous(memory_format=last)
    weight = (0.1 * torch.randn(32, 32, 3, 9, device=DEVICE, dtype=dtype)).contiguous(memory_format=last)
    bias = torch.randn(32, device=DEVICE, dtype=dtype)
    for name, way in (("strided", strided), ("pairs", in_pairs)):
        leaf, learned = x.detach().requires_grad_(), weight.detach().requires_grad_()
        outputs = {"dgrad": way(leaf, weight, dilation), "wgrad": way(x, learned, dilation)}
        upstream = torch.randn_like(outputs["dgrad"])
        jobs: dict[str, Job] = {
            "forward": lambda way=way: way(x, weight, dilation),
            "dgrad": lambda o=outputs, leaf=leaf, u=upstream: torch.autograd.grad(o["dgrad"], leaf, u, True),
            "wgrad": lambda o=outputs, w=learned, u=upstream: torch.autograd.grad(o["wgrad"], w, u, True),
            "bias, activation apart": lambda u=upstream: F.leaky_relu(
                u.add_(bias.view(1, -1, 1, 1)), 0.2, inplace=True
            ),
            "in one": lambda u=upstream: activated(u, bias),
        }
        cells = "  ".join(f"{key} {clocked(replayed(job)).ms:6.3f}" for key, job in jobs.items())
        print(f"{name:8s} 32 x {frames} x {bins}, dilation {dilation}:  {cells}", flush=True)
    difference = (in_pairs(x, weight, dilation) - strided(x, weight, dilation)).float().norm()
    print(f"  relative difference {float(difference / strided(x, weight, dilation).float().norm()):.1e}")


def whole(batch: int) -> None:
    real = 0.1 * torch.randn(batch, 1, 24000 if CUDA else 2400, device=DEVICE)
    for name, way in (("strided", strided), ("pairs", in_pairs)):
        torch.manual_seed(0)
        judge = MultiScaleSTFTDiscriminator().to(DEVICE)
        halving.in_pairs = way
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

        ways = ((False, False), (True, False), (False, True))
        times = [clocked(replayed(partial(run, *way))).ms for way in ways]
        print(
            f"{name:8s} whole: forward {times[0]:.2f}, with own gradients {times[1]:.2f}, "
            f"with gradient at the signal {times[2]:.2f} ms",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64 if CUDA else 1)
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    print(f"{machine()}; milliseconds")
    whole(options.batch)
    for shape in SHAPES:
        kernels(options.batch, *shape)


if __name__ == "__main__":
    main()
