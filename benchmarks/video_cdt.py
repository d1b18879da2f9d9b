"""CDT-like video: a short training, then PSNR of test clips by steps, and whether chunks decode as wholes do.

    python benchmarks/video_cdt.py --train FOLDER --test FOLDER --minutes 5 --config configs/video/cdt.yaml

PSNR is that of whole frames at the clips' own size or ``--height``, over the first ``--frames`` frames. On a GPU
matrices are multiplied in TF32 during training only. --out takes a picture of the middle frame of each clip: original,
then decoded in one and in the last number of steps.
"""

import argparse
import time
from pathlib import Path

import torch
import yaml
from timed import fit, optimization
from torch import Tensor
from torch.nn import functional as F

from neuralcodecs import Codec
from neuralcodecs.evaluation.examples import write_picture
from neuralcodecs.layers.streamed import Streamed
from neuralcodecs.pretrained import build
from neuralcodecs.sampling import Sampling
from neuralcodecs.training import CodecTask, Denoise, Loading, VideoDataModule
from neuralcodecs.video import Video, files


def train(codec: Codec, options: argparse.Namespace) -> int:
    """Steps taken in the given minutes; the codec has the averaged weights afterwards."""
    loading = Loading(workers=options.workers, cache=True)
    data = VideoDataModule([options.train], [options.test], options.clip, options.size, options.batch, loading=loading)
    task = CodecTask(codec, Denoise({"kl": 1e-6}), optimization(options.minutes, options.lr))
    return fit(task, data, options.minutes, options.device, options.precision, options.average)


def in_chunks(part: Streamed, whole: Tensor, size: int) -> Tensor:
    state, outputs = part.start(len(whole)), []
    chunks = whole.split(size, dim=2)
    for index, chunk in enumerate(chunks):
        output, state = part.step(chunk, state, last=index == len(chunks) - 1)
        outputs.append(output)
    return torch.cat(outputs, dim=2)


@torch.no_grad()
def measure(codec: Codec, path: Path, options: argparse.Namespace) -> None:
    pixels, _ = files.load(path, 0, min(options.frames, files.info(path).shape[0]))
    clip = files.from_bytes(pixels).transpose(0, 1)
    if options.height:
        width = round(clip.shape[3] * options.height / clip.shape[2])
        clip = F.interpolate(clip, (options.height, width), mode="bilinear", antialias=True)
    clip = clip.transpose(0, 1).clamp(-1, 1)
    codes = codec.encode(clip[None].to(codec.device))
    metrics, panels = Video().metrics(), [clip]
    bits = float(codec.bits(codes)[0]) / codec.medium.extent(tuple(clip.shape[1:]))
    for steps in options.steps:
        started = time.perf_counter()
        decoded = codec.decode(codes, Sampling(steps=steps))[0].cpu()
        seconds = time.perf_counter() - started
        panels = [*panels[:2], decoded.clamp(-1, 1)]
        figures = [f"{n} {v:.4g}" for metric in metrics for n, v in metric(decoded.clamp(-1, 1), clip, 0).items()]
        print(
            f"{path.name} {tuple(clip.shape[1:])}: {steps} steps, {', '.join(figures)}, {bits:.3f} bit/pixel nominal, "
            f"{clip.shape[1] / seconds:.1f} frames/s",
            flush=True,
        )
    frames = torch.cat([panel[:, panel.shape[1] // 2] for panel in panels], dim=-1)
    write_picture((frames + 1) / 2, options.out / f"{path.stem}.png")
    latents = codec.encoder(clip[None].to(codec.device))
    apart = in_chunks(codec.encoder, clip[None].to(codec.device), 5)
    quantized = codec.quantizer.decode(codes["codes"])
    worst = (in_chunks(codec.decoder, quantized, 1) - codec.decoder(quantized)).abs().max().item()
    print(
        f"{path.name}: chunked against offline, largest difference: encoder "
        f"{(apart - latents).abs().max().item():.2e}, decoder {worst:.2e}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/video/quickstart_video.yaml")
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--average", type=float, default=0.999, help="largest decay of the averaged weights")
    parser.add_argument("--out", type=Path, default=Path("cdt"))
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--clip", type=int, default=8, help="frames of a training clip")
    parser.add_argument("--size", type=int, default=64, help="pixels of its sides")
    parser.add_argument("--frames", type=int, default=48, help="frames of a test clip")
    parser.add_argument("--height", type=int, default=0, help="of a test clip; 0 for its own")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    config = yaml.safe_load(Path(options.config).read_text())
    codec = build(config["model"]["init_args"]["codec"], options.config)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    steps = train(codec, options)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    parameters = sum(p.numel() for p in codec.parameters()) / 1e6
    print(f"{options.config}: {parameters:.1f} M parameters, {steps} steps in {options.minutes:g} min", flush=True)
    found = [p for p in sorted(Path(options.test).iterdir()) if p.suffix in Video.suffixes]
    for path in found:
        measure(codec, path, options)


if __name__ == "__main__":
    main()
