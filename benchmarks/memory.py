"""Peak memory of coding signals in blocks: EnCodec 24 kHz at full size, random weights, a new process per length.

python benchmarks/memory.py [--minutes 1 5] [--hour] [--block 1.0] [--levels 8]
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

LIMIT = 1500
"""Megabytes."""


def measure(minutes: float, block: float, levels: int) -> None:
    """Encode and decode, block by block, and print the peak of this process."""
    import torch
    import yaml

    from neuralcodecs.pretrained import build
    from neuralcodecs.streaming import decode_blocks, encode_blocks

    torch.set_num_threads(1)
    path = Path(__file__).parents[1] / "configs" / "audio" / "encodec_24khz.yaml"
    codec = build(yaml.safe_load(path.read_text())["model"]["init_args"]["codec"], path.name).eval()
    started = time.process_time()

    def blocks() -> Iterator[torch.Tensor]:
        for _ in range(round(minutes * 60 / block)):
            yield 0.1 * torch.randn(1, round(block * 24000))

    codes = encode_blocks(codec.encoder_stream(levels), blocks())
    samples = sum(signal.shape[-1] for signal in decode_blocks(codec.decoder_stream(), codes))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = time.process_time() - started
    print(
        f"{minutes:g} min: {samples} samples, peak {peak:.0f} MB, {seconds / (minutes * 60):.3f} s CPU per s of audio"
    )
    assert samples == round(minutes * 60 / block) * round(block * 24000)
    assert peak < LIMIT, f"more than {LIMIT} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 5])
    parser.add_argument("--hour", action="store_true", help="60 minutes too")
    parser.add_argument("--block", type=float, default=1.0, help="seconds that arrive at a time")
    parser.add_argument("--levels", type=int, default=8)
    parser.add_argument("--here", action="store_true", help="measure this process")
    options = parser.parse_args()
    if options.here:
        measure(options.minutes[0], options.block, options.levels)
        return
    for minutes in [*options.minutes, *([60.0] if options.hour else [])]:
        arguments = [
            "--here",
            "--minutes",
            str(minutes),
            "--block",
            str(options.block),
            "--levels",
            str(options.levels),
        ]
        subprocess.run([sys.executable, __file__, *arguments], check=True)


if __name__ == "__main__":
    main()
