"""Files with a learned prior against the ``encodec`` package's own, both of random weights: EnCodec 24 kHz, 6 kbit/s.

python benchmarks/coding_speed.py [--seconds 60] [--theirs 10] [--threads 2]

Speeds are x real time, codec included, from a signal in memory to a file on the disk and back; both are timed in one
run, theirs over ``--theirs`` seconds of the same signal (its speed does not depend on the length).
https://arxiv.org/abs/2210.13438 reports 1.4 (encode) and 1.2 (decode) on one core.
"""

import argparse
import importlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

from neuralcodecs import Codec
from neuralcodecs.coding import Coding
from neuralcodecs.files import read_codes, write_codes
from neuralcodecs.medium import SignalInfo
from neuralcodecs.pretrained import build, fingerprint
from neuralcodecs.prior_coders import LearnedPriorCoder
from neuralcodecs.priors.autoregressive import ParallelTransformer

RATE, LEVELS = 24000, 8


def timed(what: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    result = what()
    return time.perf_counter() - started, result


def ours() -> Codec:
    """The config at full size, a prior of the published size (5 layers, 200 channels, 3.5 s)."""
    path = Path(__file__).parents[1] / "configs" / "audio" / "encodec_24khz.yaml"
    codec = build(yaml.safe_load(path.read_text())["model"]["init_args"]["codec"], path.name).eval()
    alphabet = codec.quantizer.codebook_sizes
    prior = ParallelTransformer(alphabet, dim=200, heads=8, layers=5, window=262).export()
    codec.attach("learned", LearnedPriorCoder(prior, alphabet))
    return codec


def run_ours(codec: Codec, signal: torch.Tensor) -> None:
    seconds = signal.shape[1] / RATE
    identity, coding = fingerprint(codec), Coding(codec, "learned")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.ncs"
        info = SignalInfo(RATE, 1, tuple(signal.shape[1:]))
        encoding, codes = timed(lambda: codec.encode(signal[None], LEVELS))
        writing, size = timed(lambda: write_codes(path, codec, codes, info, identity, coding=coding))
        reading, read = timed(lambda: read_codes(path, codec, identity)[0])
        decoding, _ = timed(lambda: codec.decode(read))
    assert torch.equal(read["codes"], codes["codes"])
    print(
        f"ours, {seconds:.0f} s: encode {seconds / (encoding + writing):.2f} x real time "
        f"(networks {encoding:.1f} s, prior and file {writing:.1f} s), decode {seconds / (reading + decoding):.2f} x "
        f"(prior and file {reading:.1f} s, networks {decoding:.1f} s), {size} bytes"
    )


def run_theirs(signal: torch.Tensor) -> None:
    compress = importlib.import_module("encodec.compress")  # the package hides it behind a function of that name
    from encodec.model import EncodecModel, LMModel

    model = EncodecModel.encodec_model_24khz(pretrained=False).eval()
    model.set_target_bandwidth(6.0)
    lm = LMModel(32, 1024, num_layers=5, dim=200, past_context=int(3.5 * model.frame_rate)).eval()
    model.get_lm_model = lambda: lm  # the package would download one
    model.name = "encodec_24khz"  # which the package leaves unset without its weights
    compress.MODELS = {"encodec_24khz": lambda: model}
    seconds = signal.shape[1] / RATE
    encoding, data = timed(lambda: compress.compress(model, signal, use_lm=True))
    try:
        decoding, _ = timed(lambda: compress.decompress_from_file(io.BytesIO(data)))
        told = f"decode {seconds / decoding:.2f} x"
    except Exception as error:  # their float probabilities may differ between the two sides
        told = f"decode failed: {type(error).__name__} {error}"
    print(f"encodec package, {seconds:.0f} s: encode {seconds / encoding:.2f} x real time, {told}, {len(data)} bytes")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--theirs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    signal = 0.1 * torch.randn(1, options.seconds * RATE)
    codec = ours()
    run_ours(codec, signal[:, : 2 * RATE])  # to warm up
    run_ours(codec, signal)
    run_theirs(signal[:, : options.theirs * RATE])


if __name__ == "__main__":
    main()
