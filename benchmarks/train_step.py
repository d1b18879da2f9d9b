"""Time of one EnCodec GAN training step: the published parts in the published order, and ours, in one run.

What the two steps are: ``gan_step.py``; ours as Python launches it, as CUDA graphs, and with all of ``layers.paths``.
The floor counts the operations of convolutions and products of our step.

    python benchmarks/train_step.py [--batch 64] [--seconds 1] [--precision 32|bf16] [--repeats 10]
"""

import argparse

import torch
from gan_step import RATE, STEPS, Networks, Ours, Published, Recipe, Step, autocast, executions
from measure import CUDA, DEVICE, Ceilings, Figure, clocked, if_installed, machine, operations, row, said

from neuralcodecs.training import Eager

LEVELS = 8


def prepared(name: str, precision: str, real: torch.Tensor) -> Published | Ours:
    """The step with codebooks that count as initialised; the published one makes its own in the first step."""
    torch.manual_seed(0)
    networks = Networks.fresh(0, DEVICE)
    if name == "ours":
        with torch.no_grad():
            spread = networks.codec.encoder(real).std()
        networks.codec.quantizer.load_codebooks(spread * torch.randn_like(networks.codec.quantizer.codebooks))
    return STEPS[name](networks, Recipe(), autocast(DEVICE, precision))


def timed(step: Step, real: torch.Tensor, repeats: int) -> Figure:
    index = iter(range(10**9))
    return clocked(lambda: step(real, next(index), 0, LEVELS), repeats, 6 if CUDA else 1)


def report(real: torch.Tensor, precision: str, repeats: int) -> None:
    torch.backends.cudnn.benchmark = False  # as published
    published = if_installed(lambda: timed(prepared("published", precision, real), real, repeats))
    torch.backends.cudnn.benchmark = True
    ceilings = Ceilings.measured(torch.bfloat16 if precision == "bf16" else torch.float32)
    step = prepared("ours", precision, real)
    done = operations(lambda: step(real, 0, 0, LEVELS))
    for name, execution in executions().items() if CUDA else [("plain", Eager())]:
        step.execution = execution
        try:
            row(f"EnCodec step, {precision}, {name}", published, timed(step, real, repeats), ceilings.floor(done, 0.0))
        except RuntimeError as error:
            print(f"EnCodec step, {precision}, {name}: {said(error)}", flush=True)
    print(f"  {done / 1e12:.2f} TFLOP a step; {ceilings}", flush=True)


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
        report(real, precision, options.repeats)


if __name__ == "__main__":
    main()
