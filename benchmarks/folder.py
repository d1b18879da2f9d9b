"""A folder of files by command, against a loop over transformers.EncodecModel: same weights, one run, one process each.

The command reads, resamples, encodes, packs, writes and checks; the loop reads, resamples, encodes and keeps the codes,
and for decoding writes the waveform. Both pay for loading the model.

    python benchmarks/folder.py [--files 100] [--seconds 4] [--threads 2]
"""

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import soundfile
import torch
import torchaudio
from transformers import EncodecConfig, EncodecModel

from neuralcodecs.cli import main as neuralcodecs
from neuralcodecs.convert import from_transformers

SAMPLES = Path(__file__).parents[1] / "samples" / "speech"
RATE = 24_000


def make_files(folder: Path, files: int, seconds: float) -> None:
    """Pieces of the sample speakers, at their own rates."""
    sources = sorted(SAMPLES.rglob("*.flac"))
    folder.mkdir()
    for number in range(files):
        speech, rate = soundfile.read(sources[number % len(sources)], stop=round(seconds * 16_000))
        soundfile.write(folder / f"{number:03}.wav", speech, rate)


@torch.no_grad()
def loop(model_folder: Path, source: Path, target: Path) -> tuple[float, float]:
    """Seconds of encoding and of decoding all files, one after the other."""
    started = time.perf_counter()
    model = EncodecModel.from_pretrained(model_folder).eval()
    coded = []
    for path in sorted(source.glob("*.wav")):
        samples, rate = soundfile.read(path, dtype="float32")
        signal = torchaudio.functional.resample(torch.from_numpy(samples)[None], rate, RATE)
        coded.append((path.name, model.encode(signal[None], bandwidth=6.0)))
    encoded = time.perf_counter()
    target.mkdir()
    for name, codes in coded:
        signal = model.decode(codes.audio_codes, codes.audio_scales).audio_values[0]
        soundfile.write(target / name, signal.T.numpy(), RATE)
    return encoded - started, time.perf_counter() - encoded


def timed(run: Callable[[], int]) -> float:
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = run()
    if status:
        raise SystemExit(f"the command failed with status {status}")
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder / "wav", options.files, options.seconds)
        extent = sum(soundfile.info(path).duration for path in (folder / "wav").glob("*.wav"))
        published = EncodecModel(EncodecConfig()).eval()
        for layer in published.quantizer.layers:
            layer.codebook.embed.normal_()
        published.save_pretrained(folder / "published")
        from_transformers(published).save_pretrained(folder / "ours")
        theirs = loop(folder / "published", folder / "wav", folder / "decoded")
        model = ["-m", str(folder / "ours")]
        wav, ncs, out = (str(folder / part) for part in ("wav", "ncs", "out"))
        ours = (
            timed(lambda: neuralcodecs(["encode", wav, "-o", ncs, "-b", "6", *model])),
            timed(lambda: neuralcodecs(["decode", ncs, "-o", out, *model])),
        )
    print(f"{options.files} files, {extent:.0f} s of speech, {options.threads} threads, torch {torch.__version__}")
    for name, a, b in zip(("encode", "decode"), theirs, ours, strict=True):
        print(f"{name}: loop {extent / a:6.1f} x real time, command {extent / b:6.1f}, ratio {a / b:.2f}")


if __name__ == "__main__":
    main()
