"""Where the time of coding goes on a GPU: EnCodec's encoder, LSTM, decoder and quantizer for 16 x 10 s, and layouts.

python benchmarks/profile_codec.py
"""

from functools import partial

import torch
from profile_step import CUDA, Setup, coding, graph, kernels, layouts, row

from neuralcodecs.layers.paths import PATHS, gpu_paths


def main() -> None:
    torch.backends.cudnn.benchmark = True
    setup = Setup(2 if CUDA else 1, 1.0 if CUDA else 0.1, "32")
    setup.codec.eval()
    batch, seconds = (16, 10) if CUDA else (1, 1)
    for paths in ((), PATHS):
        print(f"{'part':44s}    eager    graph    {' '.join(paths)}", flush=True)
        with gpu_paths(paths):
            for name, job in coding(setup, batch, seconds).items():
                row(name, lambda job=job: job, lambda job=job: graph(job))
    for precision in ("32", "bf16") if CUDA else ():
        for name, job in layouts(64, 1.0, precision).items():
            row(f"{name}, 64 x 1 s, {precision}", lambda job=job: job, lambda job=job: graph(job))
    for part, x in (("encoder", 0.1 * torch.randn(batch, 1, seconds * 24000, device=setup.real.device)),):
        with torch.no_grad():
            print(part)
            kernels(partial(getattr(setup.codec, part), x), 14)
            kernels(partial(setup.codec.decoder, setup.codec.encoder(x)), 14)


if __name__ == "__main__":
    main()
