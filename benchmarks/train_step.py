"""Time of one EnCodec GAN training step: the published parts in the published order, and ours, in one run.

Published: the ``encodec`` package's model and MS-STFT discriminator, a discriminator step (forwards on real and fake),
then a generator step (both forwards again), two optimizers, the balancer's K + 1 backward passes. The package ships
neither its losses nor its balancer: both sides use our losses, and the published order is written out here.

    python benchmarks/train_step.py [--batch 64] [--seconds 1] [--precision 32|bf16] [--repeats 10]
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from encodec import EncodecModel
from encodec.msstftd import MultiScaleSTFTDiscriminator as PublishedDiscriminator
from torch import Tensor

from neuralcodecs import Codec
from neuralcodecs.audio import Audio, EncodecMel, WaveformL1
from neuralcodecs.audio.discriminators import MultiScaleSTFTDiscriminator
from neuralcodecs.decoders import SEANetDecoder
from neuralcodecs.encoders import SEANetEncoder
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.training import Adversary, Balancer, Reconstruct, Weighted

RATE = 24000
LEVELS = 8
WINDOWS = (2048, 1024, 512, 256, 128)
WEIGHTS = {"waveform": 0.1, "spectrum": 1.0, "adversarial": 3.0, "features": 3.0}
Step = Callable[[Tensor], None]


def published_step(device: torch.device, autocast: Callable[[], contextlib.AbstractContextManager]) -> Step:
    """Discriminator step, then generator step, each with its own forwards."""
    model = EncodecModel.encodec_model_24khz(pretrained=False).to(device).train()
    judge = PublishedDiscriminator(
        filters=32, n_ffts=list(WINDOWS), hop_lengths=[w // 4 for w in WINDOWS], win_lengths=list(WINDOWS)
    ).to(device)
    waveform, spectrum = WaveformL1(), EncodecMel(RATE).to(device)
    ours = torch.optim.Adam(model.parameters(), lr=3e-4, betas=(0.5, 0.9))
    theirs = torch.optim.Adam(judge.parameters(), lr=3e-4, betas=(0.5, 0.9))
    norms: dict[str, Tensor] = {}

    def step(real: Tensor) -> None:
        with autocast():
            quantized = model.quantizer(model.encoder(real), model.frame_rate, bandwidth=6.0)
            fake = model.decoder(quantized.quantized)
            commitment = quantized.penalty.mean()
            logits_real, _ = judge(real)
            logits_fake, _ = judge(fake.detach())
            own = sum(
                torch.relu(1 - r).mean() + torch.relu(1 + f).mean()
                for r, f in zip(logits_real, logits_fake, strict=True)
            )
        theirs.zero_grad()
        own.backward()
        theirs.step()
        with autocast():
            _, features_real = judge(real)
            logits_fake, features_fake = judge(fake)
            losses = {
                "waveform": waveform(fake, real),
                "spectrum": spectrum(fake, real),
                "adversarial": sum(torch.relu(1 - f).mean() for f in logits_fake) / len(logits_fake),
                "features": sum(
                    (a.detach() - b).abs().mean() / a.detach().abs().mean()
                    for x, y in zip(features_real, features_fake, strict=True)
                    for a, b in zip(x, y, strict=True)
                )
                / sum(map(len, features_real)),
            }
        ours.zero_grad()
        if commitment.requires_grad:
            commitment.backward(retain_graph=True)
        total = torch.zeros_like(fake)
        for name, loss in losses.items():
            (gradient,) = torch.autograd.grad(loss, fake, retain_graph=True)
            norm = gradient.flatten(1).norm(dim=1).mean()
            norms[name] = 0.999 * norms.get(name, norm) + 0.001 * norm
            float(norms[name])  # the published balancer reads each norm on the host
            total += WEIGHTS[name] / sum(WEIGHTS.values()) * gradient / (1e-12 + norms[name])
        fake.backward(total)
        ours.step()

    return step


def our_step(device: torch.device, autocast: Callable[[], contextlib.AbstractContextManager]) -> Step:
    """Each signal judged once, one backward, one optimizer: what CodecTask does, without Lightning around it."""
    codec = Codec(
        Audio(RATE), SEANetEncoder(), partial(ResidualVQ, codebooks=32, levels=(2, 4, 8, 16, 32)), SEANetDecoder
    ).to(device)
    objective = Reconstruct(Weighted(WaveformL1(), 0.1), Weighted(EncodecMel(RATE), 1.0)).to(device)
    adversary = Adversary(MultiScaleSTFTDiscriminator(), weight=3.0, feature_weight=3.0).to(device)
    balancer = Balancer(total_norm=8.0).to(device)
    parameters = [*codec.parameters(), *adversary.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-4, betas=(0.5, 0.9), fused=device.type == "cuda")
    counter = iter(range(10**9))

    def step(real: Tensor) -> None:
        index = next(counter)
        with autocast():
            terms, output, _ = objective(codec, real, LEVELS)
            terms |= adversary(output, real, index, index)
            total = balancer(terms, output)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        codec.quantizer.update()

    return step


def measure(step: Step, real: Tensor, warm_up: int, repeats: int) -> tuple[float, float]:
    """Median milliseconds per step, and peak memory in GiB (CUDA; NaN elsewhere)."""
    cuda = real.device.type == "cuda"
    for _ in range(warm_up):
        step(real)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(repeats):
        if cuda:
            torch.cuda.synchronize()
        started = time.perf_counter()
        step(real)
        if cuda:
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times), torch.cuda.max_memory_allocated() / 2**30 if cuda else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64 if torch.cuda.is_available() else 2)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--precision", choices=["32", "bf16"], default="32")
    parser.add_argument("--repeats", type=int, default=10 if torch.cuda.is_available() else 3)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=options.precision == "bf16")
    # k-means of 32 levels takes 32 of our steps; the published model does all in its first
    warm_up = 36 if device.type == "cuda" else 9
    real = 0.1 * torch.randn(options.batch, 1, round(options.seconds * RATE), device=device)
    print(f"{device}, torch {torch.__version__}, batch {options.batch} x {options.seconds} s, {options.precision}")
    results = {}
    for name, make in (("published", published_step), ("ours", our_step)):
        torch.manual_seed(0)
        results[name], memory = measure(make(device, autocast), real, warm_up if name == "ours" else 3, options.repeats)
        print(f"{name:10s} {results[name]:9.1f} ms/step  {memory:6.2f} GiB", flush=True)
    print(f"ratio      {results['published'] / results['ours']:9.2f} x")


if __name__ == "__main__":
    main()
