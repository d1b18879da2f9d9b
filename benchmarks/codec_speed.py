"""Encode and decode speed against the transformers library: EnCodec, DAC and Mimi; same weights, same machine, one run.

Weights are random and the codes of a random network say nothing; that codes are equal is what ``tests/convert`` checks.
Ours is measured as it is and ``accelerated`` (compiled, as CUDA graphs). The floor counts operations of convolutions
and products (LSTMs left out), and each weight and sample once as bytes.

    python benchmarks/codec_speed.py [--models encodec dac mimi] [--batch 16] [--seconds 10] [--precision 32 bf16]
"""

import argparse
from collections.abc import Callable

import torch
from measure import CUDA, DEVICE, Ceilings, Figure, Job, clocked, machine, operations, said
from torch import Tensor, nn

from neuralcodecs import Codec
from neuralcodecs.accelerated import accelerated
from neuralcodecs.convert import from_transformers

ENCODEC_LEVELS, BANDWIDTH = 8, 6.0
Pair = dict[str, Job]
"""``encode`` and ``decode``."""


def encodec() -> nn.Module:
    from transformers import EncodecConfig, EncodecModel

    model = EncodecModel(EncodecConfig()).eval()
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()
    return model


def dac() -> nn.Module:
    from transformers import DacConfig, DacModel

    return DacModel(DacConfig(sampling_rate=44100)).eval()


def mimi() -> nn.Module:
    from transformers import MimiConfig, MimiModel

    model = MimiModel(MimiConfig()).eval()
    for part in (
        model.quantizer.semantic_residual_vector_quantizer,
        model.quantizer.acoustic_residual_vector_quantizer,
    ):
        for layer in part.layers:
            layer.codebook.embed_sum.normal_()
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {"encodec": encodec, "dac": dac, "mimi": mimi}


def published_pair(name: str, model: nn.Module, signal: Tensor) -> Pair:
    if name == "encodec":
        coded = model.encode(signal, bandwidth=BANDWIDTH)
        return {
            "encode": lambda: model.encode(signal, bandwidth=BANDWIDTH),
            "decode": lambda: model.decode(coded.audio_codes, coded.audio_scales),
        }
    coded = model.encode(signal)
    return {"encode": lambda: model.encode(signal), "decode": lambda: model.decode(audio_codes=coded.audio_codes)}


def our_pair(name: str, codec: Codec, signal: Tensor) -> Pair:
    levels = ENCODEC_LEVELS if name == "encodec" else None
    codes = codec.encode(signal, levels)
    return {"encode": lambda: codec.encode(signal, levels), "decode": lambda: codec.decode(codes)}


def report(name: str, options: argparse.Namespace, precision: str, ceilings: Ceilings) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    codec = from_transformers(model)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model, codec = model.to(DEVICE, dtype), codec.to(DEVICE, dtype)
    samples = round(options.seconds * codec.medium.rate)
    signal = 0.1 * torch.randn(options.batch, 1, samples, device=DEVICE, dtype=dtype)
    weights = sum(p.numel() * p.element_size() for p in codec.parameters())
    fast = our_pair(name, accelerated(codec, dtype), signal) if CUDA else {}
    for work in ("encode", "decode"):
        figures: list[Figure | None] = []
        for side in (lambda: published_pair(name, model, signal), lambda: our_pair(name, codec, signal)):
            try:
                job = side()[work]
                figures.append(clocked(job, options.repeats, 2 if CUDA else 1))
            except Exception as error:
                print(f"  {name} {work} {precision} failed: {said(error)}")
                figures.append(None)
        if None in figures:
            continue
        other = clocked(fast[work], options.repeats, 2) if CUDA else None
        audio = 1e3 * options.batch * options.seconds
        theirs, ours = figures
        floor = ceilings.floor(operations(job), weights + signal.numel() * signal.element_size())
        print(
            line(f"{name} {work} {precision}", audio, theirs, ours, other) + f"; floor {audio / floor:.0f} x",
            flush=True,
        )


def line(name: str, audio: float, theirs: Figure, ours: Figure, fast: Figure | None) -> str:
    """``audio``: milliseconds of it in the batch."""
    memory = (lambda figure: f" {figure.gib:.2f} GiB") if CUDA else (lambda figure: "")
    parts = [f"{name}: published {audio / theirs.ms:.0f} x real time{memory(theirs)}"]
    for kind, figure in (("ours", ours), ("accelerated", fast)):
        if figure:
            parts.append(f"{kind} {audio / figure.ms:.0f} x{memory(figure)}, ratio {theirs.ms / figure.ms:.2f}")
    return "; ".join(parts)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=[*MODELS], default=[*MODELS] if CUDA else ["encodec"])
    parser.add_argument("--batch", type=int, default=16 if CUDA else 1)
    parser.add_argument("--seconds", type=float, default=10.0 if CUDA else 2.0)
    parser.add_argument("--precision", choices=["32", "bf16"], nargs="+", default=["32", "bf16"] if CUDA else ["32"])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{machine()}, {options.batch} x {options.seconds} s")
    for precision in options.precision:
        ceilings = Ceilings.measured(torch.bfloat16 if precision == "bf16" else torch.float32)
        for name in options.models:
            try:
                report(name, options, precision, ceilings)
            except ImportError as error:
                print(f"{name} not measured: {error} (pip install 'neuralcodecs[bench]')")
            except Exception as error:  # of one model; the others are measured
                print(f"{name} {precision} failed: {said(error)}", flush=True)
        print(f"  {ceilings}", flush=True)


if __name__ == "__main__":
    main()
