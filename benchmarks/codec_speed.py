"""Encode and decode speed against transformers.EncodecModel: same weights, same machine, one run.

python benchmarks/codec_speed.py [--batch 1] [--seconds 10] [--bandwidth 6] [--repeats 5] [--threads 2]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from transformers import EncodecConfig, EncodecModel

from neuralcodecs.convert import from_transformers


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Median wall time of ``run`` after one warm-up, the device synchronised."""
    times = []
    for _ in range(repeats + 1):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16 if torch.cuda.is_available() else 1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--bandwidth", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    published = EncodecModel(EncodecConfig()).eval()
    for layer in published.quantizer.layers:
        layer.codebook.embed.normal_()
    codec = from_transformers(published).to(device)
    published = published.to(device)
    signal = 0.1 * torch.randn(options.batch, 1, round(options.seconds * 24000), device=device)
    levels = round(options.bandwidth / 0.75)
    theirs = published.encode(signal, bandwidth=options.bandwidth)
    ours = codec.encode(signal, levels)
    assert torch.equal(theirs.audio_codes[0], ours["codes"]) or device == "cuda", "codes differ"
    runs = {
        "encode": (lambda: published.encode(signal, bandwidth=options.bandwidth), lambda: codec.encode(signal, levels)),
        "decode": (lambda: published.decode(theirs.audio_codes, theirs.audio_scales), lambda: codec.decode(ours)),
    }
    audio = options.batch * options.seconds
    print(
        f"{device}, torch {torch.__version__}, {options.threads} threads, {options.batch} x {options.seconds} s, 24 kHz"
    )
    for name, (published_run, our_run) in runs.items():
        a, b = median_seconds(published_run, options.repeats), median_seconds(our_run, options.repeats)
        print(f"{name}: published {audio / a:8.1f} x real time, ours {audio / b:8.1f}, ratio {a / b:.2f}", flush=True)


if __name__ == "__main__":
    main()
