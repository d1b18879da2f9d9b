"""The same codes, decoded by a deterministic and by a generative decoder, each trained for the same time.

    codes          encoder, quantizer and a deterministic decoder, trained together for --minutes
    deterministic  the same encoder and quantizer, frozen, and a fresh deterministic decoder, trained for --minutes
    flow           the same, and a fresh flow-matching decoder, trained for --minutes
    pictures       of both: originals, deterministic, flow in 1, 4 and 16 steps (spectrograms for audio)

``--part`` takes one of them, so that the two decoders can be trained side by side; by default all are made in turn.
Then rates and quality of each on --test, the flow decoder's by numbers of steps and over seeds, with the time of
decoding. ``detail``: energy of the differences of neighbours, relative to the original's: 1 is as much detail, less
is blur. Metrics that compare with the original favour the blur. --out takes the models, ``generative.json``,
``pictures.png`` and, with --keep, the first decoded files.

    python benchmarks/generative_decoder.py --minutes 2                                     # pictures of samples/
    python benchmarks/generative_decoder.py --medium audio --minutes 3
    python benchmarks/generative_decoder.py --train FOLDER --test FOLDER --minutes 3 --width 64 --crop 128 --batch 32 \\
        --precision bf16-mixed --weights lpips=vgg16-397923af.pth
"""

import argparse
import json
from pathlib import Path

import lightning as L
import torch
from generative_kinds import KINDS, Detail, Kind
from jaxtyping import Float
from timed import fit, optimization
from torch import Tensor

from neuralcodecs import Codec
from neuralcodecs.codec import DecoderFactory
from neuralcodecs.criteria import Metric
from neuralcodecs.evaluation.examples import write_picture
from neuralcodecs.evaluation.generative import STEPS, Way, evaluate_ways, plain, table_of_ways
from neuralcodecs.evaluation.measure import evaluate, find_files
from neuralcodecs.evaluation.results import table
from neuralcodecs.pretrained import load
from neuralcodecs.sampling import Sampling
from neuralcodecs.training import CodecTask, Denoise, Stage
from neuralcodecs.training.objectives import Objective


def train(codec: Codec, objective: Objective, kind: Kind, options: argparse.Namespace, stage: Stage) -> int:
    """Train for the given minutes; the codec has the averaged weights afterwards. Returns the number of steps."""
    L.seed_everything(0)
    task = CodecTask(codec, objective, optimization(options.minutes, options.lr), stage=stage)
    return fit(task, kind.data, options.minutes, options.device, options.precision, options.average)


def first(kind: Kind, options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    codec = Codec(kind.medium, kind.encoder(), kind.quantizer, kind.deterministic)
    steps = train(codec, kind.objective(quantization=kind.weights), kind, options, Stage())
    codec.save_pretrained(options.out / "codes")
    print(f"codes: {steps} steps", flush=True)


def second(decoder: DecoderFactory, objective: Objective, kind: Kind, options: argparse.Namespace, name: str) -> Codec:
    """The first codec's encoder and quantizer, frozen, before a fresh decoder, which is trained."""
    torch.manual_seed(1)
    parts = ("encoder", "quantizer")
    stage = Stage(parts, str(options.out / "codes"), parts)
    codec = Codec(kind.medium, kind.encoder(), kind.quantizer, decoder)
    steps = train(codec, objective, kind, options, stage)
    codec.save_pretrained(options.out / name)
    parameters = sum(p.numel() for p in codec.decoder.parameters()) / 1e6
    print(f"{name} decoder: {steps} steps, {parameters:.2f} M parameters", flush=True)
    return codec


def deterministic(
    kind: Kind, options: argparse.Namespace, metrics: list[Metric], files: list[Path], silent: dict[str, float]
) -> None:
    codec = second(kind.deterministic, kind.objective(quantization=silent), kind, options, "deterministic")
    print(table(evaluate(codec, files, None, metrics, False)), flush=True)
    keep(codec, files[: options.keep], Sampling(), "deterministic", kind, options)


def flow(
    kind: Kind, options: argparse.Namespace, metrics: list[Metric], files: list[Path], silent: dict[str, float]
) -> None:
    codec = second(kind.flow, Denoise(silent), kind, options, "flow")
    seeds, made = tuple(range(options.seeds)), {}
    for levels in reversed(codec.quantizer.levels):
        ways: list[Way] = []
        for steps in STEPS:
            ways += evaluate_ways(codec, files, metrics, (steps,), seeds, levels)
            made[levels] = plain(ways)
            (options.out / "generative.json").write_text(json.dumps(made, indent=1) + "\n")
        print(f"flow decoder, {levels} levels\n{table_of_ways(ways, kind.medium.speed_unit)}", flush=True)
    for steps in STEPS:
        keep(codec, files[: options.keep], Sampling(0, steps), f"flow{steps}", kind, options)


@torch.no_grad()
def keep(
    codec: Codec, files: list[Path], sampling: Sampling, name: str, kind: Kind, options: argparse.Namespace
) -> None:
    """Write what the codec makes of the files at the fewest and the most levels."""
    for path in files:
        signal, original = kind.medium.read(path)
        for levels in {codec.quantizer.levels[0], codec.quantizer.levels[-1]}:
            decoded = codec.decode(codec.encode(signal[None].to(codec.device), levels), sampling)[0].cpu().clamp(-1, 1)
            target = options.out / "decoded" / f"{path.stem}.{levels}.{name}{kind.suffix}"
            target.parent.mkdir(exist_ok=True)
            kind.medium.write(target, decoded, original)


@torch.no_grad()
def grid(codecs: list[tuple[Codec, Sampling]], files: list[Path], kind: Kind) -> Float[Tensor, "3 height width"]:
    """A row per file: the original, then what each codec makes of it."""
    lines = []
    for path in files:
        signal, _ = kind.medium.read(path)
        signal = signal[(slice(None), *map(slice, kind.shown))]
        panels = [kind.medium.picture(signal)]
        for codec, sampling in codecs:
            codes = codec.encode(signal[None].to(codec.device))
            panels.append(kind.medium.picture(codec.decode(codes, sampling)[0].cpu().clamp(-1, 1)))
        lines.append(torch.cat(panels, dim=2))
    width = min(line.shape[2] for line in lines)
    return torch.cat([line[..., :width] for line in lines], dim=1)


def pictures(kind: Kind, options: argparse.Namespace, files: list[Path]) -> None:
    plainly, drawing = (load(options.out / name).to(options.device).eval() for name in ("deterministic", "flow"))
    codecs = [(plainly, Sampling()), *((drawing, Sampling(0, steps)) for steps in (1, 4, 16))]
    write_picture(grid(codecs, files[:3], kind), options.out / "pictures.png")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medium", choices=sorted(KINDS), default="image")
    parser.add_argument("--part", choices=["all", "codes", "deterministic", "flow", "pictures"], default="all")
    parser.add_argument("--train", nargs="+", help="folders; default: samples/")
    parser.add_argument("--test", type=Path, nargs="+", help="folders or files; default: samples/")
    parser.add_argument("--limit", type=int, help="at most so many test files")
    parser.add_argument("--minutes", type=float, default=2.0, help="of each training")
    parser.add_argument("--width", type=int, help="of the networks, default 16")
    parser.add_argument("--blocks", type=int, default=1, help="residual blocks per level")
    parser.add_argument("--groups", type=int, help="of 8 bits at each 16 x 16 pixels; default: 8 at each 8 x 8")
    parser.add_argument("--crop", type=int, default=64, help="pixels")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a training crop of audio")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--average", type=float, default=0.999, help="largest decay of the averaged weights")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--metrics", nargs="+", help="only those of these names; default: all of the medium")
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME=PATH", help="networks of metrics: lpips, fid")
    parser.add_argument(
        "--keep", type=int, default=0, help="decoded test files to write, at the fewest and most levels"
    )
    parser.add_argument("--out", type=Path, default=Path("generative"))
    return parser.parse_args()


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    kind = KINDS[options.medium](options)
    weights = {name: Path(path) for name, _, path in (pair.partition("=") for pair in options.weights)}
    metrics = [*kind.medium.metrics(weights), Detail()]
    if options.metrics:
        metrics = [metric for metric in metrics if set(metric.names) & set(options.metrics)]
    files = find_files(kind.test, kind.medium.suffixes, options.limit)
    silent = dict.fromkeys(kind.weights, 0.0)
    if options.part in ("all", "codes"):
        first(kind, options)
    if options.part in ("all", "deterministic"):
        deterministic(kind, options, metrics, files, silent)
    if options.part in ("all", "flow"):
        flow(kind, options, metrics, files, silent)
    if options.part in ("all", "pictures"):
        pictures(kind, options, files)


if __name__ == "__main__":
    main()
