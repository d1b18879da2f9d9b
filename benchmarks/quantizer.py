"""Vector quantizers learned by running averages: ours against vector-quantize-pytorch's, time and memory in one run.

ResidualVQ, 8 levels of 1024 codes, 128 channels, 64 x 75 positions (a batch of EnCodec at 6 kbit/s): both start from
the same codebooks, found by k-means on the same latents. VQ, 16,384 codes of 8 channels, 32 x 1024 positions (1 x 1024
on a CPU): both start from the same normal codes. The training forward is what a step costs without the backward, for
ours with the update of the codebooks (theirs updates in the forward); ``encode`` is latents to codes in eval mode. The
floor: one matrix product per level, and the distances that it must write and read once.

    python benchmarks/quantizer.py [--repeats 20]
"""

import argparse

import torch
from measure import CUDA, DEVICE, Ceilings, Job, clocked, machine, replayed, row
from torch import Tensor
from vector_quantize_pytorch import ResidualVQ as TheirResidualVQ
from vector_quantize_pytorch import VectorQuantize

from neuralcodecs.quantizers.residual import ResidualVQ

LEVELS, SIZE, DIM, BATCH, FRAMES = 8, 1024, 128, 64, 75
VQ_SIZE, VQ_DIM, VQ_BATCH, VQ_FRAMES = 16384, 8, 32 if CUDA else 1, 1024


def clustered() -> Tensor:
    """``(b, d, frames)``: 2000 clusters of uneven weight, so that codes are worth learning and some are rare."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(2000, DIM, generator=generator)
    which = (2000 * torch.rand(BATCH * FRAMES, generator=generator) ** 2).long()
    rows = centres[which] + 0.5 * torch.randn(BATCH * FRAMES, DIM, generator=generator)
    return rows.view(BATCH, FRAMES, DIM).transpose(1, 2).contiguous().to(DEVICE)


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


def single(latents: Tensor) -> tuple[ResidualVQ, VectorQuantize]:
    """Both quantizers of one large codebook with the same codes."""
    ours = ResidualVQ(VQ_DIM, 1, VQ_SIZE).to(DEVICE).train()
    ours.load_codebooks(torch.randn_like(ours.codebooks))
    theirs = VectorQuantize(
        dim=VQ_DIM, codebook_size=VQ_SIZE, decay=0.99, threshold_ema_dead_code=2, rotation_trick=False
    ).to(DEVICE)
    theirs._codebook.embed.data.copy_(ours.codebooks)
    theirs._codebook.embed_avg.data.copy_(ours.codebooks)
    theirs._codebook.cluster_size.data.fill_(VQ_BATCH * VQ_FRAMES / VQ_SIZE)
    return ours, theirs


def jobs(ours: ResidualVQ, theirs: torch.nn.Module, latents: Tensor) -> dict[str, tuple[Job, Job]]:
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
        codes = theirs.eval()(rows)[1]
        return codes if codes.ndim == 3 else codes[..., None]

    agreement = (encode() == their_encode().movedim(-1, 1)).float().mean()
    print(f"codes equal before training: {float(agreement):.4%}")
    return {"training forward": (train, their_train), "encode": (encode, their_encode)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    ceilings = Ceilings.measured()
    print(f"{machine()}; {ceilings}")
    latents = clustered()
    large = torch.randn(VQ_BATCH, VQ_DIM, VQ_FRAMES, device=DEVICE)
    sides = {
        f"ResidualVQ {LEVELS} x {SIZE}, d {DIM}, {BATCH} x {FRAMES}": (*pair(latents), latents, LEVELS * SIZE * DIM),
        f"VQ {VQ_SIZE} x {VQ_DIM}, {VQ_BATCH} x {VQ_FRAMES}": (*single(large), large, VQ_SIZE * VQ_DIM),
    }
    for title, (ours, theirs, signal, size) in sides.items():
        positions, dim = signal.numel() // signal.shape[1], signal.shape[1]
        floor = ceilings.floor(2 * positions * size, 8 * positions * size / dim)
        for name, (job, their_job) in jobs(ours, theirs, signal).items():
            published = clocked(their_job, arguments.repeats)
            row(f"{title}, {name}", published, clocked(job, arguments.repeats), floor)
            if CUDA:  # as in a training step that is replayed
                row("  ours as a CUDA graph", published, clocked(replayed(job), arguments.repeats), floor)


if __name__ == "__main__":
    main()
