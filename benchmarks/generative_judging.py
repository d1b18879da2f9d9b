"""How ``generative_decoder.py`` judges: its own metrics, tables row by row, the time of decoding, and pictures."""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from generative_kinds import Kind
from jaxtyping import Float
from patch_distance import PatchDistance
from torch import Tensor

from neuralcodecs import Codec
from neuralcodecs.criteria import Metric
from neuralcodecs.evaluation.examples import write_picture
from neuralcodecs.evaluation.generative import STEPS, Way, evaluate_ways, plain, table_of_ways
from neuralcodecs.evaluation.measure import evaluate
from neuralcodecs.evaluation.results import table
from neuralcodecs.pretrained import load
from neuralcodecs.sampling import Sampling


class Detail(Metric):
    """Energy of the differences of neighbours along every axis, relative to the original's."""

    names = ("detail",)
    higher_is_better = True
    definition = "energy of the differences of neighbours over that of the original; 1 is as much detail"

    def __call__(
        self, decoded: Float[Tensor, "c *space"], reference: Float[Tensor, "c *space"], rate: int
    ) -> dict[str, float]:
        return {"detail": self._energy(decoded) / self._energy(reference)}

    def _energy(self, signal: Float[Tensor, "c *space"]) -> float:
        return sum(float(signal.diff(dim=axis).square().mean()) for axis in range(1, signal.ndim))


class OnDevice(Metric):
    """Another metric, computed on a device: for those without a network of their own.

    Args:
        metric: the other.
        device: where.
    """

    def __init__(self, metric: Metric, device: str) -> None:
        self.metric, self.device = metric, device
        self.names, self.higher_is_better, self.definition = metric.names, metric.higher_is_better, metric.definition

    def __call__(
        self, decoded: Float[Tensor, "c *space"], reference: Float[Tensor, "c *space"], rate: int
    ) -> dict[str, float]:
        return self.metric(decoded.to(self.device), reference.to(self.device), rate)

    def fresh(self) -> "OnDevice":
        return OnDevice(self.metric.fresh(), self.device)

    def over_files(self) -> dict[str, float]:
        return self.metric.over_files()


def metrics_of(kind: Kind, options: argparse.Namespace) -> list[Metric]:
    """Those of the medium, on the GPU where pictures are judged and no network is among them; detail; patches."""
    weights = {name: Path(path) for name, _, path in (pair.partition("=") for pair in options.weights)}
    metrics: list[Metric] = [*kind.medium.metrics(weights), Detail()]
    if options.medium == "image":
        metrics.append(PatchDistance())
    if options.metrics:
        metrics = [metric for metric in metrics if set(metric.names) & set(options.metrics)]
    if options.medium == "image" and not weights:
        metrics = [OnDevice(metric, options.device) for metric in metrics]
    return metrics


def judge(kind: Kind, options: argparse.Namespace, files: list[Path]) -> None:
    """Rates and quality of the deterministic decoder; and what the vocoder makes of the originals' spectrograms."""
    metrics = metrics_of(kind, options)
    for name in ("deterministic", *(["vocoder"] if kind.vocoder else [])):
        codec = load(options.out / name).to(options.device).eval()
        print(f"{name}\n{table(evaluate(codec, files, None, [m.fresh() for m in metrics], False))}", flush=True)


def ways(kind: Kind, options: argparse.Namespace, files: list[Path]) -> None:
    """The flow decoder by numbers of steps and over seeds, a line as soon as it is known."""
    metrics = metrics_of(kind, options)
    codec = load(options.out / "flow").to(options.device).eval()
    for levels in options.levels or reversed(codec.quantizer.levels):
        made: list[Way] = []
        for steps in STEPS:
            way = evaluate_ways(codec, files, metrics, (steps,), tuple(range(options.seeds)), levels)
            head, line, *_ = table_of_ways(way, kind.medium.speed_unit).splitlines()
            print(line if made else f"flow decoder, {levels} levels\n{head}\n{line}", flush=True)
            made += way
            (options.out / f"generative_{levels}.json").write_text(json.dumps(plain(made), indent=1) + "\n")


@torch.no_grad()
def speed(kind: Kind, options: argparse.Namespace, files: list[Path]) -> None:
    """Decoding of one file, nothing else running in this process: the median of five, and the noise's part of it."""
    signal, _ = kind.medium.read(files[0])
    extent, runs = kind.medium.extent(tuple(signal.shape[1:])), 1 if options.device == "cpu" else 5
    for name, steps in (("deterministic", 0), *(("flow", steps) for steps in STEPS)):
        codec = load(options.out / name).to(options.device).eval()
        codes = codec.encode(signal[None].to(options.device))
        taken = []
        for _ in range(1 + runs):
            started = time.perf_counter()
            codec.decode(codes, Sampling(0, steps) if steps else Sampling())[0].cpu()
            taken.append(time.perf_counter() - started)
        seconds = statistics.median(taken[1:])
        rate = kind.medium.speed(extent, seconds)
        print(
            f"speed: {name} {steps or ''} {1000 * seconds:.1f} ms, {rate:.4g} {kind.medium.speed_unit}, of "
            f"{files[0].name} {tuple(signal.shape[1:])}",
            flush=True,
        )


@torch.no_grad()
def keep(codec: Codec, files: list[Path], sampling: Sampling, name: str, kind: Kind, out: Path) -> None:
    """Write what the codec makes of the files at the fewest and the most levels."""
    for path in files:
        signal, original = kind.medium.read(path)
        for levels in {codec.quantizer.levels[0], codec.quantizer.levels[-1]}:
            decoded = codec.decode(codec.encode(signal[None].to(codec.device), levels), sampling)[0].cpu().clamp(-1, 1)
            target = out / "decoded" / f"{path.stem}.{levels}.{name}{kind.suffix}"
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
    """Originals, deterministic, flow in every number of steps; and the first files, decoded."""
    plainly, drawing = (load(options.out / name).to(options.device).eval() for name in ("deterministic", "flow"))
    codecs = [(plainly, Sampling()), *((drawing, Sampling(0, steps)) for steps in STEPS)]
    write_picture(grid(codecs, files[:3], kind), options.out / "pictures.png")
    keep(plainly, files[: options.keep], Sampling(), "deterministic", kind, options.out)
    for steps in STEPS:
        keep(drawing, files[: options.keep], Sampling(0, steps), f"flow{steps}", kind, options.out)
