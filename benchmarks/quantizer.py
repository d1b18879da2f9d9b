"""Residual VQ: ours against vector-quantize-pytorch's ResidualVQ, time and memory in one run.

8 levels of 1024 codes, 128 channels, 64 x 75 positions: a batch of EnCodec at 6 kbit/s. Both start from the same
codebooks, found by k-means on the same latents. ``train`` is what one step costs without the backward: a forward in
training mode, for ours with the update of the codebooks (theirs updates in the forward); ``encode`` is latents to codes
in eval mode. The two take turns, and the figures are medians. Memory: CUDA allocator's peak over what was held before.

    python benchmarks/quantizer.py [--device cuda] [--threads 2] [--repeats 20]
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor
from vector_quantize_pytorch import ResidualVQ as TheirResidualVQ

from neuralcodecs.quantizers.residual import ResidualVQ

LEVELS, SIZE, DIM, BATCH, FRAMES = 8, 1024, 128, 64, 75
Job = Callable[[], object]


def latents_of(device: str) -> Tensor:
    """``(b, d, frames)``: 2000 clusters of uneven weight, so that codes are worth learning and some are rare."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(2000, DIM, generator=generator)
    which = (2000 * torch.rand(BATCH * FRAMES, generator=generator) ** 2).long()
    rows = centres[which] + 0.5 * torch.randn(BATCH * FRAMES, DIM, generator=generator)
    return rows.view(BATCH, FRAMES, DIM).transpose(1, 2).contiguous().to(device)


def pair(latents: Tensor) -> tuple[ResidualVQ, TheirResidualVQ]:
    """Both quantizers with the same codebooks."""
    ours = ResidualVQ(DIM, LEVELS, SIZE, kmeans_iterations=10).to(latents.device).train()
    for _ in range(LEVELS):
        ours(latents)
        ours.update()
    theirs = TheirResidualVQ(
        dim=DIM,
        num_quantizers=LEVELS,
        codebook_size=SIZE,
        decay=0.99,
        threshold_ema_dead_code=2,  # EnCodec's
        rotation_trick=False,
    ).to(latents.device)
    for layer, codebook, usage in zip(theirs.layers, ours.codebooks, ours.bank.usage, strict=True):
        book = layer._codebook
        book.embed.data.copy_(codebook[None])
        book.embed_avg.data.copy_((codebook * usage[:, None])[None])
        book.cluster_size.data.copy_(usage[None])
    return ours, theirs


def jobs(latents: Tensor) -> dict[str, tuple[Job, Job]]:
    ours, theirs = pair(latents)
    rows = latents.transpose(1, 2).contiguous()
    trained, their_trained = latents.clone().requires_grad_(), rows.clone().requires_grad_()

    def train() -> object:
        result = ours.train()(trained)
        ours.update()
        return result

    def their_train() -> object:
        return theirs.train()(their_trained)

    def encode() -> Tensor:
        return ours.eval().encode(latents)

    @torch.no_grad()
    def their_encode() -> Tensor:
        return theirs.eval()(rows)[1]

    agreement = (encode() == their_encode().movedim(-1, 1)).float().mean()
    print(f"codes equal before training: {float(agreement):.4%}")
    return {"train": (train, their_train), "encode": (encode, their_encode)}


def milliseconds(job: Job, cuda: bool) -> float:
    if not cuda:
        start = time.perf_counter()
        job()
        return 1e3 * (time.perf_counter() - start)
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    job()
    last.record()
    last.synchronize()
    return first.elapsed_time(last)


def megabytes(job: Job) -> float:
    """Peak that one pass adds to what CUDA's allocator holds."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    job()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cuda = arguments.device.startswith("cuda")
    device = torch.cuda.get_device_name() if cuda else f"CPU, {arguments.threads} threads"
    print(f"torch {torch.__version__}, {device}; {LEVELS} x {SIZE} codes, d {DIM}, {BATCH} x {FRAMES} positions")
    for name, both in jobs(latents_of(arguments.device)).items():
        for job in both:  # warm up
            job()
        times = [[milliseconds(job, cuda) for job in both] for _ in range(arguments.repeats)]
        ours, theirs = (median(column) for column in zip(*times, strict=True))
        peaks = [f"{megabytes(job):8.1f} MB" for job in both] if cuda else ["", ""]
        print(
            f"{name:8} ours {ours:8.2f} ms {peaks[0]}   theirs {theirs:8.2f} ms {peaks[1]}   ratio {theirs / ours:5.2f}"
        )


if __name__ == "__main__":
    main()
