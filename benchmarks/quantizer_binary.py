"""Binary quantizers: ours against vector-quantize-pytorch's LFQ, time and memory of a training pass, in one run.

Each row runs in a process of its own, so that its peak memory is its own: on the CPU the growth of the resident set
over what the process had before its first pass, on CUDA the allocator's peak over the same. Times are the best of
several passes; processor time is what to compare on a machine that others use. Rows of theirs that would need more
than ``--memory-gb`` are skipped and say what they need.

    python benchmarks/quantizer_binary.py [--device cuda] [--threads 2] [--memory-gb 8]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from vector_quantize_pytorch import LFQ

from neuralcodecs.quantizers.binary import GroupedLFQ

TAU = 0.01
WEIGHTS = {"commitment": 0.25, "token_entropy": 0.1, "codebook_entropy": 0.1}  # WeTok's
DENSE_COPIES = 8  # float32 arrays of positions x codes that the dense pass holds at once (seen: 7 to 8)
ROWS = [  # bits, groups, batch, height, width
    (18, 1, 2, 16, 16),
    (18, 1, 16, 16, 16),
    (32, 4, 16, 16, 16),
    (64, 8, 16, 16, 16),
]
Losses = dict[str, Tensor]
Pass = Callable[[Tensor], tuple[Tensor, Losses]]


def ours(bits: int, groups: int, device: str) -> Pass:
    quantizer = GroupedLFQ(bits, groups, TAU).to(device)

    def run(latents: Tensor) -> tuple[Tensor, Losses]:
        quantized = quantizer(latents)
        return quantized.latents, quantized.losses

    return run


def theirs(bits: int, groups: int, device: str) -> Pass:
    quantizer = LFQ(codebook_size=2 ** (bits // groups), dim=bits, num_codebooks=groups, commitment_loss_weight=1.0)
    quantizer.train().to(device)

    def run(latents: Tensor) -> tuple[Tensor, Losses]:
        (quantized, _, _), terms = quantizer(latents, inv_temperature=1 / TAU, return_loss_breakdown=True)
        # theirs are means over the groups, ours sums
        token, codebook = groups * terms.per_sample_entropy, -groups * terms.batch_entropy
        return quantized, {"commitment": terms.commitment, "token_entropy": token, "codebook_entropy": codebook}

    return run


IMPLEMENTATIONS = {"ours": ours, "vector-quantize-pytorch": theirs}


def train(run: Pass, latents: Tensor) -> Losses:
    """Forward and backward of one training pass."""
    quantized, losses = run(latents)
    (quantized.sum() + sum(WEIGHTS[name] * loss for name, loss in losses.items())).backward()
    return losses


def measure(name: str, bits: int, groups: int, shape: list[int], device: str) -> dict[str, float]:
    """Best milliseconds (of the clock, of the processor), peak megabytes and losses of training passes."""
    torch.manual_seed(0)
    # near zero, so that the soft assignment is neither all sure nor all unsure
    latents = (0.02 * torch.randn(shape[0], bits, *shape[1:])).to(device).requires_grad_()
    # thread pools and workspaces are not the quantizer's memory
    train(IMPLEMENTATIONS[name](8, 1, device), torch.randn(1, 8, 2, 2, device=device, requires_grad=True))
    run = IMPLEMENTATIONS[name](bits, groups, device)
    cuda = device == "cuda"
    before = torch.cuda.memory_allocated() if cuda else resident()
    times: list[float] = []
    processor_times: list[float] = []
    deadline = time.perf_counter() + 20
    while len(times) < 3 or (len(times) < 20 and time.perf_counter() < deadline):
        latents.grad = None
        start, processor_start = time.perf_counter(), time.process_time()
        losses = train(run, latents)
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
        processor_times.append(time.process_time() - processor_start)
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    values = {key: float(value.detach()) for key, value in losses.items()}
    return {"ms": 1e3 * min(times), "cpu": 1e3 * min(processor_times), "MB": (peak - before) / 1e6, **values}


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def row(arguments: argparse.Namespace, name: str, bits: int, groups: int, *shape: int) -> str:
    batch, height, width = shape
    title = f"{name:24} {bits:3} bits in {groups} x {bits // groups:2}   {batch:2} x {height} x {width}"
    needed = DENSE_COPIES * 4 * groups * 2 ** (bits // groups) * batch * height * width / 1e9
    if name != "ours" and needed > arguments.memory_gb:
        return f"{title}   needs about {needed:.0f} GB: skipped (--memory-gb {arguments.memory_gb})"
    job = json.dumps([name, bits, groups, shape])
    command = [sys.executable, __file__, "--device", arguments.device, "--threads", str(arguments.threads)]
    output = subprocess.run([*command, "--job", job], capture_output=True, text=True, check=True).stdout
    figures = json.loads(output)
    losses = "  ".join(f"{figures[key]:9.4f}" for key in WEIGHTS)
    return f"{title}   {figures['ms']:9.1f} ms {figures['cpu']:9.1f} ms {figures['MB']:9.1f} MB   {losses}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--memory-gb", type=float, default=8, help="skip rows of theirs that need more")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.job:
        name, bits, groups, shape = json.loads(arguments.job)
        print(json.dumps(measure(name, bits, groups, shape, arguments.device)))
        return
    print(f"torch {torch.__version__}, {arguments.device}, {arguments.threads} threads, forward and backward")
    print(
        f"{'':24} {'codebooks':16}  {'latents':14} {'time':>12} {'of the CPU':>12} {'peak memory':>14}       "
        + "  ".join(WEIGHTS)
    )
    for shape in ROWS:
        for name in IMPLEMENTATIONS:
            print(row(arguments, name, *shape), flush=True)


if __name__ == "__main__":
    main()
