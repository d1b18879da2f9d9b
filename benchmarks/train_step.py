"""Time of one EnCodec GAN training step: the published parts in the published order, and ours, in one run.

What the two steps are: ``gan_step.py``. The memory of ours is the peak of a step over what the process held before it.
The floor counts the operations of convolutions and products of our step; the bytes are those of its weights, gradients
and Adam's moments, and of the feature maps that the discriminator must write and read back once.

    python benchmarks/train_step.py [--batch 64] [--seconds 1] [--precision 32|bf16] [--repeats 10]
"""

import argparse

import torch
from gan_step import RATE, STEPS, Networks, Recipe, Step, autocast
from measure import CUDA, DEVICE, Ceilings, Figure, clocked, machine, operations, row

from neuralcodecs.training import Eager

LEVELS = 8


def prepared(name: str, precision: str, real: torch.Tensor) -> Step:
    """The step after k-means: 32 of our steps, the first of the published one."""
    torch.manual_seed(0)
    networks = Networks.fresh(0, DEVICE)
    if name == "ours":
        with torch.no_grad():
            spread = networks.codec.encoder(real).std()
        networks.codec.quantizer.load_codebooks(spread * torch.randn_like(networks.codec.quantizer.codebooks))
    return STEPS[name](networks, Recipe(), autocast(DEVICE, precision))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64 if CUDA else 1)
    parser.add_argument("--seconds", type=float, default=1.0 if CUDA else 0.2)
    parser.add_argument("--precision", choices=["32", "bf16"], nargs="+", default=["32", "bf16"] if CUDA else ["32"])
    parser.add_argument("--repeats", type=int, default=10 if CUDA else 3)
    options = parser.parse_args()
    real = 0.1 * torch.randn(options.batch, 1, round(options.seconds * RATE), device=DEVICE)
    print(f"{machine()}; EnCodec 24 kHz GAN step, batch {options.batch} x {options.seconds} s, {LEVELS} levels")
    for precision in options.precision:
        torch.backends.cudnn.benchmark = False  # as published
        figures: dict[str, Figure] = {}
        for name in STEPS:
            try:
                step = prepared(name, precision, real)
            except ImportError as error:
                print(f"{name} not measured: {error} (pip install 'neuralcodecs[bench]')")
                continue
            torch.backends.cudnn.benchmark = name == "ours"
            index = iter(range(10**9))
            figures[name] = clocked(
                lambda step=step, index=index: step(real, next(index), 0, LEVELS), options.repeats, 6 if CUDA else 1
            )
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        ceilings = Ceilings.measured(dtype)
        step.execution = Eager()  # in which operations can be counted
        done = operations(lambda step=step: step(real, 0, 0, LEVELS))
        row(f"EnCodec step, {precision}", figures.get("published"), figures["ours"], ceilings.floor(done, 0.0))
        print(f"  {done / 1e12:.2f} TFLOP a step; {ceilings}", flush=True)


if __name__ == "__main__":
    main()
