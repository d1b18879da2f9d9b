"""The same codes, decoded by a deterministic and by a generative decoder, each trained for the same time, in one run.

    1. encoder, quantizer and a deterministic decoder, trained together for --minutes
    2. the same encoder and quantizer, frozen, and a fresh deterministic decoder, trained for --minutes
    3. the same, and a fresh flow-matching decoder, trained for --minutes

Then rates and quality of the last two on --test, of the flow decoder by numbers of steps and over seeds, with the time
of decoding. ``detail``: energy of the differences of neighbours, relative to the original's: 1 is as much detail, less
is blur. Metrics that compare with the original favour the blur. Writes ``pictures.png`` (originals, deterministic, flow
in 1, 4 and 16 steps; spectrograms for audio) and ``generative.json`` to --out.

    python benchmarks/generative_decoder.py --minutes 2                                     # pictures of samples/
    python benchmarks/generative_decoder.py --medium audio --minutes 3
    python benchmarks/generative_decoder.py --train FOLDER --test FOLDER --minutes 3 --width 64 --crop 128 --batch 32 \\
        --precision bf16-mixed --weights lpips=vgg16-397923af.pth
"""

import argparse
import json
from datetime import timedelta
from functools import partial
from pathlib import Path

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs import Codec
from neuralcodecs.audio import Audio, MultiScaleMel, NoiseToSignal
from neuralcodecs.codec import DecoderFactory
from neuralcodecs.criteria import Metric
from neuralcodecs.decoders import CNNDecoder, FlowDecoder, FoldedSpace, Pyramid, Sampler, SEANetDecoder, UNet
from neuralcodecs.encoders import CNNEncoder, SEANetEncoder
from neuralcodecs.evaluation.examples import write_picture
from neuralcodecs.evaluation.generative import STEPS, evaluate_ways, plain, table_of_ways
from neuralcodecs.evaluation.measure import evaluate, find_files
from neuralcodecs.evaluation.results import table
from neuralcodecs.image import L1, Image
from neuralcodecs.quantizers import Bypassed, ResidualVQ
from neuralcodecs.quantizers.binary import GroupedLFQ
from neuralcodecs.sampling import Sampling
from neuralcodecs.training import (
    AtomicCheckpointIO,
    AudioDataModule,
    CodecTask,
    Denoise,
    ImageDataModule,
    Loading,
    Optimization,
    OptimizerGroup,
    Reconstruct,
    Stage,
    WeightAverage,
    Weighted,
)
from neuralcodecs.training.objectives import Objective

SAMPLES = Path(__file__).parents[1] / "samples"


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


class Pictures:
    """The codecs of ``configs/image/quickstart_image.yaml`` and ``quickstart_flow_image.yaml``, of any width."""

    objective = partial(Reconstruct, Weighted(L1()))
    weights = {"commitment": 0.02, "token_entropy": 0.001, "codebook_entropy": 0.001}

    def __init__(self, options: argparse.Namespace) -> None:
        width = options.width or 16
        network = {"width": width, "multipliers": (1, 2, 4, 4), "blocks": options.blocks}
        self.medium = Image()
        self.encoder = partial(CNNEncoder, dim=64, space_to_depth=True, **network)
        self.quantizer = partial(GroupedLFQ, groups=8)
        self.deterministic: DecoderFactory = partial(CNNDecoder, **network)
        self.flow: DecoderFactory = partial(
            FlowDecoder,
            network=partial(UNet, width=2 * width, multipliers=(1, 2, 2), blocks=options.blocks),
            conditioner=partial(Pyramid, widths=(width, 2 * width, 4 * width)),
            space=partial(FoldedSpace, block=(2, 2), scale=2.0),
            sampler=Sampler(steps=8),
        )
        train = options.train or [str(SAMPLES / "image" / "train")]
        loading = Loading(workers=options.workers, cache=True)
        self.data = ImageDataModule(train, train, options.crop, options.batch, scale=(0.3, 0.6), loading=loading)
        self.test = options.test or [SAMPLES / "image" / "test"]


class Speech:
    """The codecs of ``configs/audio/quickstart_speech.yaml`` and ``quickstart_flow_speech.yaml``, of any width."""

    objective = partial(Reconstruct, Weighted(NoiseToSignal(), 5.0), Weighted(MultiScaleMel(rate=16000), 0.2))
    weights = {"commitment": 0.25}

    def __init__(self, options: argparse.Namespace) -> None:
        width = options.width or 16
        network = {"filters": width, "ratios": (5, 4, 4, 2), "lstm_layers": 0, "pad_mode": "constant"}
        stack = partial(ResidualVQ, codebooks=8, codebook_size=256, levels=(2, 4, 8), decay=0.9)
        self.medium = Audio(16000)
        self.encoder = partial(SEANetEncoder, dim=64, **network)
        self.quantizer = partial(Bypassed, quantizer=stack)
        self.deterministic: DecoderFactory = partial(SEANetDecoder, **network)
        self.flow: DecoderFactory = partial(
            FlowDecoder,
            network=partial(UNet, width=4 * width, multipliers=(1, 2, 4), blocks=options.blocks),
            conditioner=partial(Pyramid, widths=(2 * width, 4 * width, 4 * width)),
            space=partial(FoldedSpace, block=(16,), scale=12.0),
            sampler=Sampler(steps=8),
        )
        train = options.train or [str(SAMPLES / "speech" / "train")]
        loading = Loading(workers=options.workers, cache=True)
        self.data = AudioDataModule(train, train, 16000, 1, 0.5, options.batch, loading=loading)
        self.test = options.test or [SAMPLES / "speech" / "test"]


KINDS = {"image": Pictures, "audio": Speech}


def fit(codec: Codec, objective: Objective, kind: Pictures | Speech, options: argparse.Namespace, stage: Stage) -> int:
    """Train for the given minutes; the codec has the averaged weights afterwards. Returns the number of steps."""
    L.seed_everything(0)
    settings = Optimization(
        partial(torch.optim.AdamW, lr=options.lr, betas=(0.9, 0.99)), codec=OptimizerGroup(clip=1.0)
    )
    average = WeightAverage(options.average)
    trainer = L.Trainer(
        accelerator="gpu" if options.device == "cuda" else "cpu",
        devices=1,
        precision=options.precision,
        max_time=timedelta(minutes=options.minutes),
        max_steps=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        plugins=[AtomicCheckpointIO()],
        callbacks=[average],
    )
    trainer.fit(CodecTask(codec, objective, settings, stage=stage), kind.data)
    average.swap(codec)
    codec.to(options.device).eval()
    return trainer.global_step


def second(first: Codec, decoder: DecoderFactory, kind: Pictures | Speech, folder: Path) -> tuple[Codec, Stage]:
    """The first codec's encoder and quantizer, frozen, before a fresh decoder."""
    first.save_pretrained(folder)
    torch.manual_seed(1)
    parts = ("encoder", "quantizer")
    return Codec(kind.medium, kind.encoder(), kind.quantizer, decoder), Stage(parts, str(folder), parts)


@torch.no_grad()
def grid(codecs: list[tuple[Codec, Sampling]], files: list[Path], rows: int = 4) -> Float[Tensor, "3 height width"]:
    """A row per file: the original, then what each codec makes of it."""
    medium, lines = codecs[0][0].medium, []
    for path in files[:rows]:
        signal, _ = medium.read(path)
        signal = signal[(slice(None), *(slice(n) for n in {1: (32000,), 2: (320, 320)}[signal.ndim - 1]))]
        panels = [medium.picture(signal)]
        for codec, sampling in codecs:
            codes = codec.encode(signal[None].to(codec.device))
            panels.append(medium.picture(codec.decode(codes, sampling)[0].cpu().clamp(-1, 1)))
        lines.append(torch.cat(panels, dim=2))
    width = min(line.shape[2] for line in lines)
    return torch.cat([line[..., :width] for line in lines], dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medium", choices=sorted(KINDS), default="image")
    parser.add_argument("--train", nargs="+", help="folders; default: samples/")
    parser.add_argument("--test", type=Path, nargs="+", help="folders or files; default: samples/")
    parser.add_argument("--limit", type=int, help="at most so many test files")
    parser.add_argument("--minutes", type=float, default=2.0, help="of each of the three trainings")
    parser.add_argument("--width", type=int, help="of the networks, default 16")
    parser.add_argument("--blocks", type=int, default=1, help="residual blocks per level")
    parser.add_argument("--crop", type=int, default=64, help="pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--average", type=float, default=0.98, help="decay of the averaged weights")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME=PATH", help="networks of metrics: lpips, fid")
    parser.add_argument("--out", type=Path, default=Path("generative"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kind = KINDS[options.medium](options)
    weights = {name: Path(path) for name, _, path in (pair.partition("=") for pair in options.weights)}
    metrics = [*kind.medium.metrics(weights), Detail()]
    files = find_files(kind.test, kind.medium.suffixes, options.limit)

    torch.manual_seed(0)
    first = Codec(kind.medium, kind.encoder(), kind.quantizer, kind.deterministic)
    print(f"codes: {fit(first, kind.objective(quantization=kind.weights), kind, options, Stage())} steps", flush=True)
    silent = dict.fromkeys(kind.weights, 0.0)
    plainly, stage = second(first, kind.deterministic, kind, options.out / "codes")
    steps = fit(plainly, kind.objective(quantization=silent), kind, options, stage)
    print(f"deterministic decoder: {steps} steps\n{table(evaluate(plainly, files, None, metrics, False))}", flush=True)
    flow, stage = second(first, kind.flow, kind, options.out / "codes")
    steps = fit(flow, Denoise(silent), kind, options, stage)
    ways = evaluate_ways(flow, files, metrics, STEPS, tuple(range(options.seeds)))
    parameters = sum(p.numel() for p in flow.decoder.parameters()) / 1e6
    print(f"flow decoder: {steps} steps, {parameters:.2f} M parameters, the most levels")
    print(table_of_ways(ways, kind.medium.speed_unit))
    (options.out / "generative.json").write_text(json.dumps(plain(ways), indent=1) + "\n")
    codecs = [(plainly, Sampling()), *((flow, Sampling(0, n)) for n in (1, 4, 16))]
    write_picture(grid(codecs, files), options.out / "pictures.png")
    flow.save_pretrained(options.out / "flow")


if __name__ == "__main__":
    main()
