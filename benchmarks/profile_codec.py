"""Where the time of coding goes on a GPU: EnCodec's encoder, LSTM, decoder and quantizer for 16 x 10 s, and layouts.

python benchmarks/profile_codec.py
"""

from functools import partial

import torch
from measure import CUDA, DEVICE, Job, replayed
from profile_step import LEVELS, RATE, Setup, kernels, row
from torch import Tensor, nn

from neuralcodecs.layers.paths import PATHS, gpu_paths


def layouts(batch: int, seconds: float, precision: str) -> dict[str, Job]:
    """The encoder's convolutions (the same operations, padded by the convolution), and as 2-D ones, channels last."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    sizes, width = [(1, 32, 7, 1)], 32
    for ratio in (2, 4, 5, 8):
        sizes += [(width, width // 2, 3, 1), (width // 2, width, 1, 1), (width, width, 1, 1)]
        sizes.append((width, 2 * width, 2 * ratio, ratio))
        width *= 2

    def chain(flat: bool) -> Job:
        layers: list[nn.Module] = []
        for inside, outside, kernel, stride in sizes:
            padding = (kernel - stride) // 2
            if flat:
                layers.append(nn.Conv2d(inside, outside, (1, kernel), (1, stride), (0, padding)))
            else:
                layers.append(nn.Conv1d(inside, outside, kernel, stride, padding))
            layers.append(nn.ELU())
        net = nn.Sequential(*layers).to(DEVICE, dtype)
        x = torch.randn(batch, 1, round(seconds * RATE), device=DEVICE, dtype=dtype)
        if flat:
            net, x = net.to(memory_format=torch.channels_last), x[:, :, None]

        def run() -> None:
            torch.autograd.grad(net(x).sum(), list(net.parameters()))

        return run

    return {"encoder's convolutions and ELU alone": chain(False), "  as 2-D, channels last": chain(True)}


def coding(setup: Setup, batch: int, seconds: float) -> dict[str, Job]:
    """Encoder and decoder of a batch to be coded."""
    audio = 0.1 * torch.randn(batch, 1, round(seconds * RATE), device=DEVICE)
    with torch.no_grad():
        latents = setup.codec.encoder(audio)
    jobs: dict[str, Job] = {}
    for precision in ("32", "bf16") if CUDA else ("32",):

        @torch.no_grad()
        def run(part: nn.Module, x: Tensor, precision: str = precision) -> None:
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bf16"):
                part(x)

        size = f"{batch} x {seconds} s, {precision}"
        jobs[f"encoder, {size}"] = partial(run, setup.codec.encoder, audio)
        jobs[f"  its LSTM, {size}"] = partial(run, setup.codec.encoder.layers[13], latents.repeat(1, 4, 1))
        jobs[f"decoder, {size}"] = partial(run, setup.codec.decoder, latents)
        jobs[f"quantizer, {size}"] = partial(setup.codec.quantizer.encode, latents, LEVELS)
    return jobs


def main() -> None:
    torch.backends.cudnn.benchmark = True
    setup = Setup(2 if CUDA else 1, 1.0 if CUDA else 0.1, "32")
    setup.codec.eval()
    batch, seconds = (16, 10) if CUDA else (1, 1)
    for paths in ((), PATHS):
        print(f"{'part':44s}    eager    graph    {' '.join(paths)}", flush=True)
        with gpu_paths(paths):
            for name, job in coding(setup, batch, seconds).items():
                row(name, lambda job=job: job, lambda job=job: replayed(job))
    for precision in ("32", "bf16") if CUDA else ():
        for name, job in layouts(64, 1.0, precision).items():
            row(f"{name}, 64 x 1 s, {precision}", lambda job=job: job, lambda job=job: replayed(job))
    for part, x in (("encoder", 0.1 * torch.randn(batch, 1, seconds * 24000, device=setup.real.device)),):
        with torch.no_grad():
            print(part)
            kernels(partial(getattr(setup.codec, part), x), 14)
            kernels(partial(setup.codec.decoder, setup.codec.encoder(x)), 14)


if __name__ == "__main__":
    main()
