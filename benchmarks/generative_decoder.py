"""The same codes, decoded by a deterministic and by a generative decoder, each trained for the same time.

    codes          encoder, quantizer and a deterministic decoder, trained together for --minutes
    vocoder        of audio: Vocos, by itself; the flow decoder draws log-mel spectrograms for it
    deterministic  the same encoder and quantizer, frozen, and a fresh deterministic decoder, trained for --minutes
    flow           the same, and a fresh flow-matching decoder, trained for --minutes
    pictures       of both: originals, deterministic, flow in 1, 2, 4, 8 and 16 steps (spectrograms for audio)
    speed          of decoding one file, by numbers of steps
    judge          rates and quality of the deterministic decoder on --test, and of the vocoder given the originals'
                   spectrograms: the most that the flow decoder can reach
    ways           rates and quality of the flow decoder, by numbers of steps and over seeds

``--part`` takes some of them; by default all are made in turn, so that each training has the machine for itself.
``detail``: energy of the differences of neighbours, relative to the original's: 1 is as much detail, less is blur;
``patches``: distance of the patches of all pictures from those of the originals, as distributions. Metrics that
compare with the original favour the blur. Training examples are drawn once and stay on the device (``pool.py``).
--out takes the models, ``generative_*.json``, ``pictures.png`` and, with --keep, the first decoded files.

    python benchmarks/generative_decoder.py --minutes 2                                     # pictures of samples/
    python benchmarks/generative_decoder.py --medium audio --minutes 3
    python benchmarks/generative_decoder.py --train FOLDER --test FOLDER --minutes 3 --width 64 --crop 128 --batch 32 \\
        --precision bf16-mixed --weights lpips=vgg16-397923af.pth
"""

import argparse
from pathlib import Path

import torch
from generative_judging import judge, pictures, speed, ways
from generative_kinds import KINDS, VOCODING, Kind
from timed import add_options, train

from neuralcodecs import Codec
from neuralcodecs.codec import DecoderFactory
from neuralcodecs.evaluation.measure import find_files
from neuralcodecs.training import Denoise, Stage
from neuralcodecs.training.objectives import Objective

PARTS = ("codes", "vocoder", "deterministic", "flow", "pictures", "speed", "judge", "ways")


def trained(
    name: str, codec: Codec, part: torch.nn.Module, objective: Objective, kind: Kind, options: argparse.Namespace
) -> None:
    """The codec is saved under its name; ``part``: what the printed number of parameters is of."""
    steps = train(codec, objective, kind.data, options, Stage())
    codec.save_pretrained(options.out / name)
    parameters = sum(p.numel() for p in part.parameters()) / 1e6
    print(f"{name}: {steps} steps in {options.minutes:g} min, {parameters:.2f} M parameters", flush=True)


def first(kind: Kind, options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    codec = Codec(kind.medium, kind.encoder(), kind.quantizer, kind.deterministic)
    trained("codes", codec, codec, kind.objective(quantization=kind.weights), kind, options)


def vocoder(kind: Kind, options: argparse.Namespace) -> None:
    if kind.vocoder is not None:
        trained("vocoder", kind.vocoder, kind.vocoder.decoder, VOCODING, kind, options)


def second(name: str, decoder: DecoderFactory, objective: Objective, kind: Kind, options: argparse.Namespace) -> None:
    """The first codec's encoder and quantizer, frozen, before a fresh decoder, which is trained."""
    torch.manual_seed(1)
    parts = ("encoder", "quantizer")
    inner = {"decoder.space.codec": str(options.out / "vocoder")} if kind.vocoder and name == "flow" else {}
    codec = Codec(kind.medium, kind.encoder(), kind.quantizer, decoder)
    stage = Stage(parts, str(options.out / "codes"), parts, inner)
    steps = train(codec, objective, kind.data, options, stage)
    codec.save_pretrained(options.out / name)
    learned = sum(p.numel() for p in codec.decoder.parameters() if p.requires_grad) / 1e6
    print(f"{name} decoder: {steps} steps in {options.minutes:g} min, {learned:.2f} M parameters", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medium", choices=sorted(KINDS), default="image")
    parser.add_argument("--part", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--train", nargs="+", help="folders; default: samples/")
    parser.add_argument("--test", type=Path, nargs="+", help="folders or files; default: samples/")
    parser.add_argument("--limit", type=int, help="at most so many test files")
    parser.add_argument("--width", type=int, help="of the networks, default 16")
    parser.add_argument("--blocks", type=int, default=1, help="residual blocks per level")
    parser.add_argument("--groups", type=int, help="of 8 bits at each 16 x 16 pixels; default: 8 at each 8 x 8")
    parser.add_argument("--crop", type=int, default=64, help="pixels")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a training crop of audio")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--levels", type=int, nargs="+", help="at which the flow decoder is judged; default: all")
    parser.add_argument("--metrics", nargs="+", help="only those of these names; default: all of the medium")
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME=PATH", help="networks of metrics: lpips, fid")
    parser.add_argument(
        "--keep", type=int, default=0, help="decoded test files to write, at the fewest and most levels"
    )
    parser.add_argument("--out", type=Path, default=Path("generative"))
    add_options(parser, lr=1e-3)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    kind = KINDS[options.medium](options)
    files = find_files(kind.test, kind.medium.suffixes, options.limit)
    silent = dict.fromkeys(kind.weights, 0.0)
    if "codes" in options.part:
        first(kind, options)
    if "vocoder" in options.part:
        vocoder(kind, options)
    if "deterministic" in options.part:
        second("deterministic", kind.deterministic, kind.objective(quantization=silent), kind, options)
    if "flow" in options.part:
        second("flow", kind.flow, Denoise(silent), kind, options)
    # figures in full float32: the windows of SSIM are convolutions too
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for part, work in (("pictures", pictures), ("speed", speed), ("judge", judge), ("ways", ways)):
        if part in options.part:
            work(kind, options, files)


if __name__ == "__main__":
    main()
