"""Time of one DAC 44.1 kHz GAN training step: the published order of steps, and ours, in one run.

The ``descript-audio-codec`` package is not needed: the published side is transformers' ``DacModel`` with weight norm
and our discriminators and losses (they give the published logits), in the order of the published trainer: discriminator
step (two forwards), generator step (both again, gradients into the discriminator's weights too), two optimizers,
clipping. The published trainer also has an STFT loss of weight 0, which is left out.

    python benchmarks/dac_step.py [--batch 72] [--seconds 0.38] [--precision 32 bf16] [--repeats 5]
"""

import argparse
from functools import partial

import torch
from gan_step import Autocast, autocast, executions
from measure import CUDA, DEVICE, Ceilings, Job, clocked, if_installed, machine, operations, row, said
from torch import Tensor, nn

from neuralcodecs import Codec
from neuralcodecs.audio import Audio, MultiScaleMel
from neuralcodecs.audio.discriminators import DACDiscriminator
from neuralcodecs.decoders import DACDecoder
from neuralcodecs.encoders import DACEncoder
from neuralcodecs.quantizers.projected import Projected
from neuralcodecs.quantizers.stacked import ResidualStack
from neuralcodecs.quantizers.vq import CosineVQ
from neuralcodecs.training import Adversary, Eager, LeastSquares, Reconstruct, Weighted, WeightedSum
from neuralcodecs.training.execution import Computed, Execution

RATE, LEVELS, HOP = 44100, 9, 512
ADAM = {"lr": 1e-4, "betas": (0.8, 0.99)}


def published(real: Tensor, autocast: Autocast) -> Job:
    from transformers import DacConfig, DacModel

    model = DacModel(DacConfig(sampling_rate=RATE)).to(DEVICE).train()
    model.apply_weight_norm()
    judge = DACDiscriminator().to(DEVICE)
    mel = MultiScaleMel(RATE).to(DEVICE)
    ours, theirs = (torch.optim.AdamW(m.parameters(), **ADAM) for m in (model, judge))

    def step() -> None:
        with autocast():
            decoded = model(real)
            fake = decoded.audio_values.unsqueeze(1)
            fakes, reals = judge(fake.detach()), judge(real)
            own = sum(
                f.logits.square().mean() + (1 - r.logits).square().mean() for f, r in zip(fakes, reals, strict=True)
            )
        theirs.zero_grad()
        own.backward()
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 10.0)
        theirs.step()
        with autocast():
            fakes, reals = judge(fake), judge(real)
            adversarial = sum((1 - f.logits).square().mean() for f in fakes)
            features = sum(
                (a - b.detach()).abs().mean()
                for f, r in zip(fakes, reals, strict=True)
                for a, b in zip(f.features, r.features, strict=True)
            )
            total = 15 * mel(fake, real) + adversarial + 2 * features + decoded.loss.mean()
        ours.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1000.0)
        ours.step()

    return step


def our_step(real: Tensor, autocast: Autocast, execution: Execution) -> Job:
    stage = partial(Projected, quantizer=partial(CosineVQ, codebook_size=1024), code_dim=8)
    quantizer = partial(
        ResidualStack, quantizer=stage, depth=LEVELS, levels=tuple(range(1, LEVELS + 1)), detach_residuals=False
    )
    codec = Codec(Audio(RATE), DACEncoder(), quantizer, DACDecoder).to(DEVICE).train()
    losses = {"commitment": 2.25, "codebook": 9.0}
    objective = Reconstruct(spectrum=Weighted(MultiScaleMel(RATE), 15.0), quantization=losses).to(DEVICE)
    adversary = Adversary(DACDiscriminator(), LeastSquares(), 8.0, 200.0, relative_features=False).to(DEVICE)
    combination = WeightedSum()
    players = nn.ModuleList([codec, adversary])
    groups = [list(player.parameters()) for player in players]
    optimizer = torch.optim.AdamW([{"params": group} for group in groups], **ADAM, fused=CUDA)

    def compute(signal: Tensor) -> Computed:
        terms, output, statistics = objective(codec, signal, LEVELS)
        terms |= adversary(output, signal, 0, 0)
        return Computed(terms, statistics, combination(terms, output))

    def step() -> None:
        with autocast():
            _, _, total = execution(compute, real, players, 0, True)
        optimizer.zero_grad()
        total.backward()
        for parameters, clip in zip(groups, (1000.0, 1.25), strict=True):
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()

    return step


def report(real: Tensor, precision: str, repeats: int) -> None:
    warm_up, cast = 6 if CUDA else 1, autocast(DEVICE, precision)
    torch.backends.cudnn.benchmark = False  # as published
    theirs = if_installed(lambda: clocked(published(real, cast), repeats, warm_up // 2))
    torch.backends.cudnn.benchmark = True
    ceilings = Ceilings.measured(torch.bfloat16 if precision == "bf16" else torch.float32)
    done = operations(our_step(real, cast, Eager()))
    for name, execution in executions().items() if CUDA else [("plain", Eager())]:
        torch.manual_seed(0)
        try:
            figure = clocked(our_step(real, cast, execution), repeats, warm_up)
            row(f"DAC step, {precision}, {name}", theirs, figure, ceilings.floor(done, 0.0))
        except RuntimeError as error:
            print(f"DAC step, {precision}, {name}: {said(error)}", flush=True)
    print(f"  {done / 1e12:.2f} TFLOP a step; {ceilings}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=72 if CUDA else 1)
    parser.add_argument("--seconds", type=float, default=0.38 if CUDA else 0.05)
    parser.add_argument("--precision", choices=["32", "bf16"], nargs="+", default=["32", "bf16"] if CUDA else ["32"])
    parser.add_argument("--repeats", type=int, default=5 if CUDA else 1)
    options = parser.parse_args()
    samples = round(options.seconds * RATE) // HOP * HOP
    real = 0.1 * torch.randn(options.batch, 1, samples, device=DEVICE)
    print(f"{machine()}; DAC 44.1 kHz GAN step, batch {options.batch} x {options.seconds} s")
    for precision in options.precision:
        report(real, precision, options.repeats)


if __name__ == "__main__":
    main()
