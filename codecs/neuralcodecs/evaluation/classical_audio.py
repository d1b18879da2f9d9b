"""Opus and MP3 as they are installed here, judged on the same files as the models. https://www.rfc-editor.org/rfc/rfc6716

Signals reach the encoder as 16-bit WAV at the judge's rate. Opus decodes at 48 kHz; decodings are resampled to the
judge's rate, and the delay that is left is found by cross-correlation and removed.
"""

import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neuralcodecs.audio import files
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.candidate import Candidate, Coded, Decoded, Point
from neuralcodecs.evaluation.programs import run_program

LONGEST_DELAY = 0.25
"""Seconds within which a delay is looked for, either way."""
LEAST_GAIN = 1.05
"""A delay is believed where its correlation exceeds that of no delay by this factor: noise has peaks too."""


@dataclass(frozen=True)
class Program:
    """How to call one installed encoder and decoder; ``{rate}``, ``{source}`` and ``{target}`` are filled in."""

    encode: tuple[str, ...]
    decode: tuple[str, ...]
    version: tuple[str, ...]

    @property
    def installed(self) -> bool:
        return all(shutil.which(command[0]) for command in (self.encode, self.decode))


FFMPEG = ("ffmpeg", "-nostdin", "-v", "error", "-y", "-i", "{source}")
FFMPEG_DECODE = (*FFMPEG, "{target}")
# opusenc reserves 512 bytes for tags unless it is told not to
OPUS = (
    Program(
        ("opusenc", "--quiet", "--padding", "0", "--discard-comments", "--bitrate", "{rate}", "{source}", "{target}"),
        ("opusdec", "--quiet", "--rate", "48000", "--float", "{source}", "{target}"),
        ("opusenc", "--version"),
    ),
    Program((*FFMPEG, "-c:a", "libopus", "-b:a", "{rate}k", "{target}"), FFMPEG_DECODE, ("ffmpeg", "-version")),
)
MP3 = (
    Program(
        ("lame", "--quiet", "--cbr", "-b", "{rate}", "{source}", "{target}"),
        ("lame", "--quiet", "--decode", "{source}", "{target}"),
        ("lame", "--version"),
    ),
    Program((*FFMPEG, "-c:a", "libmp3lame", "-b:a", "{rate}k", "{target}"), FFMPEG_DECODE, ("ffmpeg", "-version")),
)
OPUS_RATES = (6, 8, 12, 16, 24, 32, 64)
"""kbit/s for mono; two channels take twice as much."""
MP3_RATES = (8, 16, 24, 32, 48, 64, 96)


class ClassicalAudio(Candidate):
    """One classical audio codec over a ladder of bitrates.

    Args:
        name: shown.
        suffix: of its files, with the dot.
        programs: in order of preference; the first that is installed is used.
        rates: kbit/s that are asked for.
        sample_rate: of the judge.

    Raises:
        CodecError: none of the programs is installed.
    """

    kind = "classical"

    def __init__(
        self, name: str, suffix: str, programs: Sequence[Program], rates: Sequence[int], sample_rate: int
    ) -> None:
        found = next((program for program in programs if program.installed), None)
        if found is None:
            wanted = " or ".join(program.encode[0] for program in programs)
            raise CodecError(f"{name}: no {wanted} on this machine: install it, or leave {name} out of --against")
        self.name = name
        self.suffix = suffix
        self.points = tuple(Point(f"{rate} kbit/s", float(rate)) for rate in rates)
        self._program = found
        self._rate = sample_rate
        first = (run_program(found.version, name).splitlines() or [""])[0]
        self.identity = f"{first.strip()}: {' '.join(found.encode)}"

    def encode(self, path: Path, signal: Float[Tensor, "c t"], point: Point, target: Path) -> Coded:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "original.wav"
            files.write(source, signal, self._rate)
            started = time.perf_counter()
            run_program(_filled(self._program.encode, source, target, f"{point.order:g}"), self.name)
            return Coded(time.perf_counter() - started, None)

    def decode(self, source: Path, reference: Float[Tensor, "c t"]) -> Decoded:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "decoded.wav"
            started = time.perf_counter()
            run_program(_filled(self._program.decode, source, target), self.name)
            seconds = time.perf_counter() - started
            signal, _ = files.read(target, self._rate, len(reference))
        aligned, delay = align(signal, reference, round(LONGEST_DELAY * self._rate))
        return Decoded(aligned.clamp(-1, 1), seconds, delay)


def opus(sample_rate: int, channels: int = 1) -> ClassicalAudio:
    """Opus from 6 kbit/s a channel; variable bitrate, as opusenc chooses it."""
    return ClassicalAudio("opus", ".opus", OPUS, [r * channels for r in OPUS_RATES], sample_rate)


def mp3(sample_rate: int, channels: int = 1) -> ClassicalAudio:
    """MP3 at constant bitrates; the encoder lowers the sample rate where it thinks that better."""
    if channels > 1:
        return ClassicalAudio("mp3", ".mp3", MP3, [32, 48, 64, 96, 128, 192, 256], sample_rate)
    return ClassicalAudio("mp3", ".mp3", MP3, MP3_RATES, sample_rate)


def align(
    decoded: Float[Tensor, "c n"], reference: Float[Tensor, "c t"], longest: int
) -> tuple[Float[Tensor, "c t"], int]:
    """``decoded`` without its delay against ``reference``, cut or padded with zeros to its length; and the delay.

    The delay, in samples and negative where ``decoded`` is early, is where the cross-correlation summed over the
    channels is largest within ``longest`` either way.
    """
    size = 2 ** math.ceil(math.log2(decoded.shape[-1] + reference.shape[-1] + 1))
    product = torch.fft.rfft(decoded.double(), size) * torch.fft.rfft(reference.double(), size).conj()
    correlation = torch.fft.irfft(product, size).sum(dim=0)
    longest = min(longest, size // 2 - 1)
    near = torch.cat([correlation[-longest:], correlation[: longest + 1]]) if longest else correlation[:1]
    delay = int(near.argmax()) - longest
    if near.max() < LEAST_GAIN * near[longest]:
        delay = 0
    moved = decoded[:, delay:] if delay > 0 else F.pad(decoded, (-delay, 0))
    moved = moved[:, : reference.shape[-1]]
    return F.pad(moved, (0, reference.shape[-1] - moved.shape[-1])), delay


def _filled(command: tuple[str, ...], source: Path, target: Path, rate: str = "") -> list[str]:
    return [part.format(source=source, target=target, rate=rate) for part in command]
