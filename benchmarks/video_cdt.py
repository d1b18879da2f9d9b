"""CDT-like video: whether chunks decode as wholes do, a short training, and the quality of test clips by steps.

    python benchmarks/video_cdt.py --train FOLDER --test FOLDER --minutes 5 --config configs/video/cdt.yaml

PSNR is that of whole frames at the clips' own size or ``--height``, over the first ``--frames`` frames. On a GPU
matrices are multiplied in TF32 during training only. ``--shrink`` makes the networks of ``cdt.yaml`` smaller and draws
blocks of 2 x 2 pixels. Training clips are drawn once and stay on the device (``pool.py``). --out takes the model,
a picture of the middle frame of each clip (original, then decoded in one and in the last number of steps), and
``--judge`` judges the model that is there.
"""

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import yaml
from jaxtyping import Float
from pool import Pool
from timed import add_options, train
from torch import Tensor
from torch.nn import functional as F

from neuralcodecs import Codec
from neuralcodecs.evaluation.examples import write_picture
from neuralcodecs.layers.streamed import Streamed
from neuralcodecs.pretrained import build, load
from neuralcodecs.sampling import Sampling
from neuralcodecs.training import Denoise, Loading, Stage, VideoDataModule
from neuralcodecs.video import Video, files

CHUNKED = (16, 128, 192)
"""Frames, height and width of what is coded in chunks and as a whole."""


def fresh(options: argparse.Namespace) -> Codec:
    """The codec of the config, shrunk if asked for: about a ninth of the work per pixel."""
    parts = yaml.safe_load(Path(options.config).read_text())["model"]["init_args"]["codec"]
    if options.shrink:
        encoder, decoder = (parts["init_args"][name]["init_args"] for name in ("encoder", "decoder"))
        encoder |= {"width": 32, "multipliers": [1, 2, 4, 8]}
        unet = decoder["network"]["init_args"]["network"]["init_args"]
        unet |= {"width": 64, "multipliers": [1, 2, 4], "blocks": 2}
        decoder["conditioner"]["init_args"]["widths"] = [64, 128, 256]
        folded = {"block": [1, 2, 2], "scale": 2.0}
        decoder["space"] = {"class_path": "neuralcodecs.decoders.FoldedSpace", "init_args": folded}
    return build(parts, options.config)


def pool_of(options: argparse.Namespace) -> Pool:
    loading = Loading(workers=options.workers, cache=True)
    data = VideoDataModule([options.train], [options.test], options.clip, options.size, options.batch, loading=loading)
    return Pool(data, options.pool, options.device)


def in_chunks(part: Streamed, whole: Tensor, size: int) -> Tensor:
    state, outputs = part.start(len(whole)), []
    chunks = whole.split(size, dim=2)
    for index, chunk in enumerate(chunks):
        output, state = part.step(chunk, state, last=index == len(chunks) - 1)
        outputs.append(output)
    return torch.cat(outputs, dim=2)


def clips(options: argparse.Namespace) -> Iterator[tuple[Path, Float[Tensor, "3 t h w"]]]:
    for path in (p for p in sorted(Path(options.test).iterdir()) if p.suffix in Video.suffixes):
        pixels, _ = files.load(path, 0, min(options.frames, files.info(path).shape[0]))
        clip = files.from_bytes(pixels).transpose(0, 1)
        if options.height:
            width = round(clip.shape[3] * options.height / clip.shape[2])
            clip = F.interpolate(clip, (options.height, width), mode="bilinear", antialias=True)
        yield path, clip.transpose(0, 1).clamp(-1, 1)


@torch.no_grad()
def chunked(codec: Codec, path: Path, clip: Float[Tensor, "3 t h w"]) -> None:
    """The largest difference of what is coded in chunks from what is coded as a whole."""
    part = clip[(slice(None), *map(slice, CHUNKED))][None].to(codec.device)
    latents = codec.encoder(part)
    apart = (in_chunks(codec.encoder, part, 5) - latents).abs().max().item()
    quantized = codec.quantizer.decode(codec.encode(part)["codes"])
    whole = codec.decoder(quantized)
    worst = (in_chunks(codec.decoder, quantized, 1) - whole).abs().max().item()
    print(
        f"{path.name} {tuple(part.shape[2:])}: chunked against offline, largest difference: encoder {apart:.2e} of "
        f"{latents.abs().max().item():.3g}, decoder {worst:.2e} of {whole.abs().max().item():.3g}",
        flush=True,
    )


@torch.no_grad()
def measure(codec: Codec, path: Path, clip: Float[Tensor, "3 t h w"], options: argparse.Namespace) -> None:
    codes = codec.encode(clip[None].to(codec.device))
    metrics, panels = Video().metrics(), [clip]
    bits = float(codec.bits(codes)[0]) / codec.medium.extent(tuple(clip.shape[1:]))
    codec.decode(codes, Sampling(steps=1))  # the first run of a network costs more
    for steps in options.steps:
        started = time.perf_counter()
        decoded = codec.decode(codes, Sampling(steps=steps))[0].clamp(-1, 1).cpu()
        seconds = time.perf_counter() - started
        panels = [*panels[:2], decoded]
        figures = [f"{n} {v:.4g}" for metric in metrics for n, v in metric(decoded, clip, 0).items()]
        print(
            f"{path.name} {tuple(clip.shape[1:])}: {steps} steps, {', '.join(figures)}, {bits:.3f} bit/pixel nominal, "
            f"{clip.shape[1] / seconds:.1f} frames/s",
            flush=True,
        )
    frames = torch.cat([panel[:, panel.shape[1] // 2] for panel in panels], dim=-1)
    write_picture((frames + 1) / 2, options.out / f"{path.stem}.png")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/video/quickstart_video.yaml")
    parser.add_argument("--shrink", action="store_true", help="smaller networks, for cdt.yaml")
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--judge", action="store_true", help="train nothing: judge the model in --out")
    parser.add_argument("--out", type=Path, default=Path("cdt"))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--clip", type=int, default=8, help="frames of a training clip")
    parser.add_argument("--size", type=int, default=64, help="pixels of its sides")
    parser.add_argument("--frames", type=int, default=48, help="frames of a test clip")
    parser.add_argument("--height", type=int, default=0, help="of a test clip; 0 for its own")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4])
    add_options(parser, lr=1e-3)
    return parser.parse_args()


def trained(options: argparse.Namespace) -> Codec:
    torch.manual_seed(0)
    codec = fresh(options)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    steps = train(codec, Denoise({"kl": 1e-6}), pool_of(options), options, Stage())
    codec.save_pretrained(options.out / "model")
    parameters = sum(p.numel() for p in codec.parameters()) / 1e6
    print(f"{options.config}: {parameters:.1f} M parameters, {steps} steps in {options.minutes:g} min", flush=True)
    return codec


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    codec = load(options.out / "model").to(options.device).eval() if options.judge else trained(options)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for path, clip in itertools.islice(clips(options), 1):  # first, so that nothing cuts it off
        chunked(codec, path, clip)
    for path, clip in clips(options):
        measure(codec, path, clip, options)


if __name__ == "__main__":
    main()
