"""What streaming costs against coding the whole signal: EnCodec 24 kHz at full size, random weights, CPU time.

python benchmarks/streaming.py [--seconds 10] [--levels 8] [--pushes 100] [--threads 1]
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
import yaml

from neuralcodecs import Codec
from neuralcodecs.pretrained import build
from neuralcodecs.streaming import decode_blocks, encode_blocks

RATE = 24000


def blockwise(codec: Codec, signal: torch.Tensor, levels: int) -> tuple[float, float]:
    """CPU seconds of encoding and decoding in blocks of a second."""
    started = time.process_time()
    codes = list(encode_blocks(codec.encoder_stream(levels), signal.split(RATE, dim=-1)))
    encoded = time.process_time()
    for _ in decode_blocks(codec.decoder_stream(), codes):
        pass
    return encoded - started, time.process_time() - encoded


def whole(codec: Codec, signal: torch.Tensor, levels: int) -> tuple[float, float]:
    """CPU seconds of encoding and decoding at once."""
    started = time.process_time()
    codes = codec.encode(signal[None], levels)
    encoded = time.process_time()
    codec.decode(codes)
    return encoded - started, time.process_time() - encoded


def pushes(codec: Codec, levels: int, count: int, streams: int) -> tuple[list[float], list[float]]:
    """CPU milliseconds of each push of 20 ms of so many streams at once, after ten to warm up."""
    encoder, decoder = codec.encoder_stream(levels), codec.decoder_stream()
    state, decoding = encoder.start(streams), decoder.start(streams)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(count + 10):
        chunk = 0.1 * torch.randn(streams, 1, RATE // 50)
        started = time.process_time()
        codes, state = encoder.push(chunk, state)
        encoded = time.process_time()
        _, decoding = decoder.push(codes, decoding)
        times[0].append(1000 * (encoded - started))
        times[1].append(1000 * (time.process_time() - encoded))
    return times[0][10:], times[1][10:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--levels", type=int, default=8)
    parser.add_argument("--pushes", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = Path(__file__).parents[1] / "configs" / "audio" / "encodec_24khz.yaml"
    codec = build(yaml.safe_load(path.read_text())["model"]["init_args"]["codec"], path.name).eval()
    signal = 0.1 * torch.randn(1, options.seconds * RATE)
    for name, run in (("whole", whole), ("blocks of 1 s", blockwise)):
        run(codec, signal[:, :RATE], options.levels)
        encoding, decoding = run(codec, signal, options.levels)
        print(f"{name}: encode {1000 * encoding / options.seconds:.0f} ms per s of audio, decode "
              f"{1000 * decoding / options.seconds:.0f}", flush=True)  # fmt: skip
    for streams in (1, 8):
        for part, times in zip(
            ("encode", "decode"), pushes(codec, options.levels, options.pushes, streams), strict=True
        ):
            slow = statistics.quantiles(times, n=20)[-1]
            print(
                f"push of 20 ms, {streams} streams: {part} {statistics.median(times):.1f} ms (95 %: {slow:.1f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
