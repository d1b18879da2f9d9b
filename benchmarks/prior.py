"""Learned priors: tables per second while encoding and while decoding, one thread, by the number of lanes.

Random weights of EnCodec 24 kHz's shape: 8 codebooks of 1024 codes at 75 frames a second (6 kbit/s), a window of 262.
``encode``: teacher-forced intervals and range coding of a whole stream; ``decode``: step by step with the cache, range
decoding included. ``float``: the transformer's logits in float32, no tables, the same positions. ``x``: how much faster
than real time, without the codec. Beside it the ``encodec`` package's language model and arithmetic coder on random
weights: forward, tables and coding of one frame after the other, as it does for both directions.

    python benchmarks/prior.py [--seconds 60] [--dims 128 256] [--lanes 1 8 32] [--kinds parallel factorised]
"""

import argparse
import io
import time
from collections.abc import Callable

import torch
from encodec.model import LMModel
from encodec.quantization.ac import ArithmeticCoder, build_stable_quantized_cdf
from torch import Tensor

from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer
from neuralcodecs.token_coder import LaneCoder

LEVELS, SIZE, RATE, WINDOW, HEADS, LAYERS = 8, 1024, 75, 262, 4, 4
KINDS = {"parallel": ParallelTransformer, "factorised": FactorisedTransformer}


def seconds(job: Callable[[], object]) -> float:
    start = time.process_time()
    job()
    return time.process_time() - start


def speed(frames: int, took: float) -> str:
    return f"{frames * LEVELS / took:8.0f} tables/s {frames / RATE / took:7.2f} x"


def ours(kind: str, dim: int, lanes: list[int], codes: Tensor) -> None:
    torch.manual_seed(0)
    model = KINDS[kind]((SIZE,) * LEVELS, dim, HEADS, LAYERS, WINDOW).eval()
    prior = model.export()
    prior.verify()
    frames = codes.shape[1]
    parameters = sum(p.numel() for p in model.parameters())
    pieces = codes[:, : frames // 128 * 128].unflatten(1, (-1, 128)).transpose(0, 1)[:4]
    with torch.no_grad():
        took = seconds(lambda: model(pieces))
    print(f"{kind}, d {dim}, {parameters / 1e6:.2f} M: float {speed(pieces.shape[0] * 128, took)}")
    for count in lanes:
        coder = LaneCoder(prior, count)
        data: list[bytes] = []
        encode = seconds(lambda coder=coder, data=data: data.append(coder.encode(codes)))
        # a part of the positions in one lane is enough to know its speed
        part = codes[:, : min(frames, 100 * count)]
        payload = coder.encode(part)
        decode = seconds(lambda coder=coder, payload=payload, part=part: coder.decode(payload, LEVELS, part.shape[1]))
        print(
            f"  {count:4} lanes: encode {speed(frames, encode)}   decode {speed(part.shape[1], decode)}   "
            f"{len(data[0])} bytes"
        )


@torch.no_grad()
def theirs(codes: Tensor) -> None:
    torch.manual_seed(0)
    model = LMModel(n_q=32, card=SIZE, num_layers=5, dim=200, past_context=WINDOW).eval()
    coder = ArithmeticCoder(io.BytesIO())

    def encode() -> None:
        states, offset = None, 0
        given = torch.zeros(1, LEVELS, 1, dtype=torch.long)
        for frame in codes.T:
            probabilities, states, offset = model(given, states, offset)
            given = 1 + frame.view(1, LEVELS, 1)
            for level, code in enumerate(frame.tolist()):
                coder.push(code, build_stable_quantized_cdf(probabilities[0, :, level, 0], 24, check=False))
        coder.flush()

    print(f"encodec package, one lane:   encode {speed(codes.shape[1], seconds(encode))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--dims", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=sorted(KINDS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, SIZE, (LEVELS, round(arguments.seconds * RATE)), generator=generator)
    for kind in arguments.kinds:
        for dim in arguments.dims:
            ours(kind, dim, arguments.lanes, codes)
    theirs(codes[:, :100])


if __name__ == "__main__":
    main()
