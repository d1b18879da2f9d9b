"""Audio as the medium of a codec: files, seconds, kbit/s, and what TensorBoard shows."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from neuralcodecs.atomic import Incoming, Outgoing, spooled
from neuralcodecs.audio import blocks, files
from neuralcodecs.audio.resample import resample, resample_range, resampled_length, support
from neuralcodecs.criteria import Metric
from neuralcodecs.errors import CodecError
from neuralcodecs.medium import Blocks, Medium, SignalInfo, Span, Writer, check_weights

FLOOR_DB = -100.0
"""Darkest level of a spectrogram, relative to a sine at full scale."""
DIFFERENCE_DB = 40.0
"""Largest difference of two spectrograms that is told apart."""
COLUMNS = 1000
"""Widest spectrogram, in pixels."""


class Audio(Medium):
    """Sound in [-1, 1], ``(channels, samples)``.

    Files of any rate, length and channel count are resampled and mixed (``neuralcodecs.audio.files.mix`` states how);
    decoding goes the same way back.

    Args:
        sample_rate: of the codec's signal, in Hz, 1000 to 768000.
        channels: of the codec's signal.
    """

    unit = "kbit/s"
    speed_unit = "x real time"
    suffixes = (".wav", ".flac", ".ogg", ".mp3")

    def __init__(self, sample_rate: int, channels: int = 1) -> None:
        if not files.MIN_RATE <= sample_rate <= files.MAX_RATE:
            raise CodecError(f"sample_rate {sample_rate}: give {files.MIN_RATE} to {files.MAX_RATE} Hz")
        if channels < 1:
            raise CodecError(f"channels {channels}: give at least 1")
        self.rate = sample_rate
        self.channels = channels

    def info(self, path: Path) -> SignalInfo:
        """What the file's header says, without decoding."""
        return files.info(path)

    def read(self, path: Path) -> tuple[Float[Tensor, "c t"], SignalInfo]:
        return files.read(path, self.rate, self.channels)

    def write(self, path: Path, signal: Float[Tensor, "c t"], original: SignalInfo) -> None:
        """16-bit WAV, or FLAC by suffix, clipped to [-1, 1], with exactly the original's rate, channels and samples."""
        files.check(str(path), original)
        files.check_size(str(path), resampled_length(signal.shape[-1], self.rate, original.rate), len(signal))
        frames = original.shape[0]
        restored = resample(signal.detach().cpu().float(), self.rate, original.rate)[:, :frames]
        restored = F.pad(restored, (0, frames - restored.shape[-1]))
        files.write(path, files.mix(restored, original.channels), original.rate)

    def check_original(self, name: str, shape: tuple[int, ...], original: SignalInfo) -> None:
        files.check(name, original)
        frames, most = original.shape[0], resampled_length(shape[0], self.rate, original.rate)
        if not 1 <= frames <= most:
            raise CodecError(
                f"{name}: an original of {frames} samples at {original.rate} Hz, its signal has {most}: it is forged"
            )

    def read_blocks(self, path: Path) -> Blocks:
        return blocks.FileBlocks(path, self.rate, self.channels)

    @contextmanager
    def receive(self, file: Incoming) -> Iterator[Blocks]:
        """PCM and float WAV as it comes, also of unknown length; other formats when they are whole."""
        header, head = blocks.read_wav_header(file)
        if header is not None:
            files.check("standard input", SignalInfo(header.rate, header.channels, (max(0, header.frames),)))
            yield blocks.PipedWav(file, header, self.rate, self.channels)
            return
        with spooled(file, head) as path:
            yield self.read_blocks(path)

    def write_blocks(self, path: Path, signal: Blocks) -> None:
        blocks.write_file(path, signal, self.channels, self.rate)

    def send(self, file: Outgoing, signal: Blocks, suffix: str) -> None:
        """WAV as it comes; other formats at their end."""
        if suffix.lower() == ".wav":
            blocks.write_wav(file, signal, self.channels, self.rate)
        else:
            super().send(file, signal, suffix)

    def facts(self, path: Path) -> dict[str, object]:
        return files.facts(path)

    def span(self, start: float, stop: float | None, length: int, original: SignalInfo) -> Span:
        frames = original.shape[0]
        stop = frames / original.rate if stop is None else stop
        if not (math.isfinite(start) and math.isfinite(stop)):
            raise CodecError(f"from {start} to {stop} s: give finite numbers")
        begin, end = (min(round(seconds * original.rate), frames) for seconds in (max(start, 0.0), stop))
        if begin >= end:
            raise CodecError(f"no sound from {start:g} to {stop:g} s: the signal has {frames / original.rate:g} s")
        first, last = support(begin, end - begin, self.rate, original.rate)
        return Span(begin, end, min(max(first, 0), length - 1), min(last, length))

    def write_span(self, path: Path, signal: Float[Tensor, "c t"], span: Span, original: SignalInfo) -> None:
        files.check(str(path), original)
        signal = signal.detach().cpu().float()
        restored = resample_range(signal, span.first, span.start, span.stop, self.rate, original.rate)
        files.write(path, files.mix(restored, original.channels), original.rate)

    def extent(self, shape: tuple[int, ...]) -> float:
        """Seconds."""
        return shape[-1] / self.rate

    def bitrate(self, bits: float, shape: tuple[int, ...]) -> float:
        return bits / self.extent(shape) / 1000

    def speed(self, extent: float, seconds: float) -> float:
        return extent / seconds

    def metrics(self, weights: Mapping[str, Path] | None = None) -> list[Metric]:
        from neuralcodecs.audio.metrics import default_metrics  # its packages are slow to import

        check_weights(weights or {})
        return default_metrics()

    def further_metrics(self) -> tuple[list[Metric], dict[str, str]]:
        """ViSQOL, F0, MCD and DNSMOS."""
        from neuralcodecs.audio.voice_metrics import further_metrics

        return further_metrics()

    def picture(self, signal: Float[Tensor, "c t"]) -> Float[Tensor, "3 height width"]:
        """The spectrogram of the mean of the channels."""
        return _coloured(spectrogram(files.mix(signal.detach().cpu().float(), 1)[0]), "magma")

    def difference(
        self, decoded: Float[Tensor, "c t"], original: Float[Tensor, "c t"]
    ) -> Float[Tensor, "3 height width"]:
        """Difference of the spectrograms within +-40 dB: red where the decoding is louder, blue where it is quieter."""
        ours, theirs = (spectrogram(files.mix(x.detach().cpu().float(), 1)[0]) for x in (decoded, original))
        return _coloured(((ours - theirs) * -FLOOR_DB / (2 * DIFFERENCE_DB) + 0.5).clamp(0, 1), "coolwarm")

    def show(self, writer: Writer, tag: str, signal: Float[Tensor, "c t"], step: int) -> None:
        """The sound and its spectrogram, both of the mean of the channels."""
        writer.add_audio(tag, files.mix(signal.detach().cpu().float(), 1).clamp(-1, 1), step, self.rate)
        writer.add_image(f"{tag}/spectrogram", self.picture(signal), step)


def spectrogram(signal: Float[Tensor, " t"]) -> Float[Tensor, "height width"]:
    """Log-magnitude STFT (Hann window of 1024): 0 for -100 dB to 1 for 0 dB, 0 dB being a sine at full scale.

    The scale is fixed, so that a reference and its decodings can be compared. Low frequencies are below.
    """
    size = 1024
    hop = max(size // 4, -(-signal.shape[-1] // COLUMNS))
    window = torch.hann_window(size)
    spectrum = torch.stft(signal, size, hop, window=window, pad_mode="constant", return_complex=True)
    decibels = 20 * torch.log10(spectrum.abs() * 2 / window.sum() + 1e-12)
    return (1 - decibels / FLOOR_DB).clamp(0, 1).flip(0)


def _coloured(level: Float[Tensor, "height width"], colours: str) -> Float[Tensor, "3 height width"]:
    """Levels in [0, 1] as colours of a matplotlib map."""
    import matplotlib  # only pictures need it

    picture = matplotlib.colormaps[colours](level.numpy())[..., :3]
    return torch.from_numpy(picture).float().permute(2, 0, 1).contiguous()
