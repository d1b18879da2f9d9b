"""Where the time of our EnCodec GAN step goes: parts launched by Python and replayed as CUDA graphs, then whole steps.

A part's time as a graph is what the GPU needs for it; what Python adds is the difference. Then the kernels that cost
most, host synchronisations, and the step as it is, as a graph, and with parts compiled. Rows are printed when known.

    python benchmarks/profile_step.py [--batch 64] [--precision bf16] [--seconds-left 85] [--paths rows fused]
"""

import argparse
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial

import torch
from measure import CUDA, DEVICE, Job, clocked, replayed, said
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from neuralcodecs import Codec
from neuralcodecs.audio import Audio, EncodecMel, WaveformL1
from neuralcodecs.audio.discriminators import MultiScaleSTFTDiscriminator
from neuralcodecs.decoders import SEANetDecoder
from neuralcodecs.encoders import SEANetEncoder
from neuralcodecs.layers.paths import PATHS, gpu_paths
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.training import Adversary, Balancer, Reconstruct, Weighted
from neuralcodecs.training.adversary import feature_distance
from neuralcodecs.training.combine import gradient_at
from neuralcodecs.training.terms import Output

RATE, LEVELS = 24000, 8


class Setup:
    """All parts of the step, and a batch of noise; codebooks count as initialised."""

    def __init__(self, batch: int, seconds: float, precision: str) -> None:
        torch.manual_seed(0)
        quantizer = partial(ResidualVQ, codebooks=32, levels=(2, 4, 8, 16, 32))
        self.codec = Codec(Audio(RATE), SEANetEncoder(), quantizer, SEANetDecoder).to(DEVICE)
        self.objective = Reconstruct(Weighted(WaveformL1(), 0.1), Weighted(EncodecMel(RATE), 1.0)).to(DEVICE)
        self.adversary = Adversary(MultiScaleSTFTDiscriminator(), weight=3.0, feature_weight=3.0).to(DEVICE)
        self.balancer = Balancer(total_norm=8.0).to(DEVICE)
        parameters = [*self.codec.parameters(), *self.adversary.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=3e-4, betas=(0.5, 0.9), fused=CUDA, capturable=CUDA)
        self.autocast = partial(torch.autocast, DEVICE.type, torch.bfloat16, enabled=precision == "bf16")
        self.real = 0.1 * torch.randn(batch, 1, round(seconds * RATE), device=DEVICE)
        with torch.no_grad():
            latents = self.codec.encoder(self.real)
        self.codec.quantizer.load_codebooks(latents.std() * torch.randn_like(self.codec.quantizer.codebooks))
        self.latents = latents.detach()

    def step(self) -> None:
        with self.autocast():
            terms, output, _ = self.objective(self.codec, self.real, LEVELS)
            terms |= self.adversary(output, self.real, 10**6, 0)
            total = self.balancer(terms, output)
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        self.codec.quantizer.update()

    def parts(self) -> dict[str, Job]:
        codec, judge, leaf = self.codec, self.adversary.discriminator, Output.of(0.1 * torch.randn_like(self.real)).leaf
        bare = SEANetEncoder(lstm_layers=0).to(DEVICE)
        mel = EncodecMel(RATE).to(DEVICE)
        stfts = [scale.stft for scale in judge.scales]

        def both(part: nn.Module, x: Tensor) -> Job:
            def run() -> None:
                with self.autocast():
                    y = part(x.detach().requires_grad_())
                torch.autograd.grad(y.float().sum(), list(part.parameters()))

            return run

        def quantize() -> None:
            codec.quantizer(self.latents.requires_grad_(), LEVELS)
            codec.quantizer.update()

        def spectrum() -> None:
            with self.autocast():
                gradient_at(mel(leaf, self.real), leaf)

        @torch.no_grad()
        def judged() -> None:
            with self.autocast():
                judge(self.real)

        def game(adversarial: bool, features: bool, own: bool) -> Job:
            def run() -> None:
                with self.autocast():
                    real, fake = judge(self.real), judge(leaf)
                    if adversarial:
                        gradient_at(torch.stack([self.adversary.game.generator(v.logits) for v in fake]).mean(), leaf)
                    if features:
                        gradient_at(feature_distance(real, fake, True), leaf)
                    pairs = zip(real, fake, strict=True)
                    loss = torch.stack([self.adversary.game.discriminator(r.logits, f.logits) for r, f in pairs]).mean()
                if own:
                    torch.autograd.grad(loss, list(judge.parameters()))

            return run

        for parameter in self.optimizer.param_groups[0]["params"]:
            parameter.grad = torch.zeros_like(parameter)
        return {
            "encoder, forward and backward": both(codec.encoder, self.real),
            "encoder without LSTM": both(bare, self.real),
            "decoder": both(codec.decoder, self.latents),
            "quantizer, 8 of 32 levels, and update": quantize,
            "EncodecMel and its gradient": spectrum,
            "spectra of the discriminators, one signal": lambda: [stft(self.real) for stft in stfts],
            "discriminator, one signal, no graph": judged,
            "discriminator, both signals": game(False, False, False),
            "  and adversarial gradient": game(True, False, False),
            "  and feature gradient": game(False, True, False),
            "  and its own gradients": game(False, False, True),
            "optimizer": self.optimizer.step,
        }


def row(name: str, *jobs: Callable[[], Job]) -> None:
    cells = []
    for make in jobs:
        try:
            cells.append(f"{clocked(make(), *((5, 2) if CUDA else (1, 0))).ms:8.2f}")
        except Exception as error:
            cells.append(f"[{said(error)}]")
            if CUDA:
                torch.cuda.synchronize()
    print(f"{name:44s}", *cells, flush=True)


def launched(job: Job) -> float:
    """Milliseconds until Python has launched everything."""
    for _ in range(2):
        job()
    if CUDA:
        torch.cuda.synchronize()
    started = time.perf_counter()
    job()
    return 1e3 * (time.perf_counter() - started)


def kernels(job: Job, rows: int = 28) -> None:
    activities = [ProfilerActivity.CUDA] if CUDA else [ProfilerActivity.CPU]
    with profile(activities=activities) as trace:
        job()
        if CUDA:
            torch.cuda.synchronize()
    found = sorted(trace.key_averages(), key=lambda e: -e.self_device_time_total)
    total, count = sum(e.self_device_time_total for e in found), sum(e.count for e in found)
    print(f"\nGPU busy {total / 1e3:.1f} ms in {count} kernels and copies of one step; the longest (ms, count, name):")
    for event in found[:rows]:
        print(f"{event.self_device_time_total / 1e3:7.2f} {event.count:5d}  {event.key[:110]}")


def synchronisations(job: Job) -> None:
    if not CUDA:
        return
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        job()
        torch.cuda.set_sync_debug_mode("default")
    places = {f"{w.filename.rsplit('/', 2)[-1]}:{w.lineno}" for w in seen if "synchroniz" in str(w.message)}
    print(f"host synchronisations in a step: {len(places)} places {sorted(places)[:12]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64 if CUDA else 1)
    parser.add_argument("--seconds", type=float, default=1.0 if CUDA else 0.2)
    parser.add_argument("--precision", choices=["32", "bf16"], default="bf16" if CUDA else "32")
    parser.add_argument("--seconds-left", type=float, default=85)
    parser.add_argument("--paths", nargs="*", choices=PATHS, default=(), help="see neuralcodecs.layers.paths")
    options = parser.parse_args()
    options.until = time.perf_counter() + options.seconds_left
    torch._functorch.config.donated_buffer = False  # losses are differentiated more than once
    setup = Setup(options.batch, options.seconds, options.precision)
    with gpu_paths(options.paths):
        look(setup, options)


def look(setup: Setup, options: argparse.Namespace) -> None:
    card = torch.cuda.get_device_name() if CUDA else "CPU"
    print(f"{card}, torch {torch.__version__}, batch {options.batch} x {options.seconds} s, {options.precision}; ms")
    row("whole step, cudnn.benchmark off", lambda: setup.step)
    torch.backends.cudnn.benchmark = True
    row("whole step, cudnn.benchmark on", lambda: setup.step)
    print(f"  launched by Python in {launched(setup.step):.1f}", flush=True)
    synchronisations(setup.step)
    row("whole step as a graph", lambda: replayed(setup.step))
    kernels(setup.step)
    print(f"\n{'part':44s}    eager    graph")
    for name, job in setup.parts().items():
        row(name, lambda job=job: job, lambda job=job: replayed(job))
    setup.optimizer.zero_grad()
    compiled = {
        "encoder": setup.codec.encoder,
        "decoder": setup.codec.decoder,
        "mel loss": setup.objective.losses["spectrum"].loss,
        "stacks of the discriminators": setup.adversary.discriminator.scales[0].stack,
    }
    for name, part in compiled.items():
        if time.perf_counter() > options.until - 15:
            print(f"no time left to compile the {name}")
            return
        started = time.perf_counter()
        part.compile(dynamic=False)
        if name.startswith("stacks"):
            for scale in setup.adversary.discriminator.scales:
                scale.stack.compile(dynamic=False)
        row(f"whole step, {name} compiled too: eager, graph", lambda: setup.step, lambda: replayed(setup.step))
        print(f"  {time.perf_counter() - started:.0f} s", flush=True)
    row("  parts then: encoder, decoder", *(partial(replayed, setup.parts()[n]) for n in [*setup.parts()][0:3:2]))


if __name__ == "__main__":
    try:
        main()
    except Exception:
        print(traceback.format_exc()[-1500:])
        raise
