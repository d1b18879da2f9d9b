"""Audio files as tensors: bounded, by seeking where only a span is wanted, and exact for 16-bit samples both ways."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import torch
from jaxtyping import Float, Int16
from torch import Tensor
from torch.nn import functional as F

from neuralcodecs.atomic import atomic
from neuralcodecs.audio.resample import resample, resample_span, resampled_length, support
from neuralcodecs.errors import CodecError
from neuralcodecs.medium import SignalInfo

READABLE = {"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3"}
"""Containers by soundfile's names; its rarer parsers are where its vulnerabilities are found."""
SAMPLES = {"PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "VORBIS", "OPUS"}
SAMPLES |= {"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}
WRITABLE = {".wav": "WAV", ".flac": "FLAC"}
MAX_SAMPLES = 2**30
"""Largest frames x channels of a file, before and after resampling: 3.1 hours of 48 kHz stereo, 4 GiB as float32."""
MIN_RATE, MAX_RATE = 1_000, 768_000
"""Sample rates in Hz that are believed; others come from damaged headers."""
BLOCK = 2**22
"""Samples read at once: a forged length takes no memory that the file does not fill."""


def info(path: Path) -> SignalInfo:
    """What the header says; raises CodecError as every reader here does."""
    with opened(path) as file:
        return _info(file)


def facts(path: Path) -> dict[str, object]:
    """Container and sample format by soundfile's names."""
    with opened(path) as file:
        return {"format": file.format, "samples": file.subtype}


def read(path: Path, rate: int, channels: int) -> tuple[Float[Tensor, "c t"], SignalInfo]:
    """The whole file at ``rate`` Hz, mixed to ``channels``, and what the file itself was.

    16-bit samples are divided by 32768. Float samples beyond [-1, 1] are kept.

    Raises:
        CodecError: no file, no readable or no allowed format, too large, empty, truncated, or not finite.
    """
    with opened(path) as file:
        original = _info(file)
        check_size(str(path), resampled_length(original.shape[0], original.rate, rate), channels)
        signal = _frames(file, 0, original.shape[0], channels)
    return resample(signal, original.rate, rate), original


def read_span(path: Path, start: int, frames: int, rate: int, channels: int) -> Float[Tensor, "c t"]:
    """``frames`` samples from sample ``start`` of what ``read`` gives, with zeros after its end; reads only these.

    What the resampling filter reaches on either side is read too, so that a span equals the slice of the whole but for
    float rounding.
    """
    check_size(str(path), frames, channels)
    with opened(path) as file:
        first, last = support(start, frames, file.samplerate, rate)
        held = (max(first, 0), min(last, file.frames))
        signal = _frames(file, held[0], held[1] - held[0], channels) if held[0] < held[1] else torch.zeros(channels, 0)
        before = min(-first, last - first) if first < 0 else 0
        signal = F.pad(signal, (before, last - first - before - signal.shape[-1]))
        return resample_span(signal, start, frames, file.samplerate, rate)


def write(path: Path, signal: Float[Tensor, "c t"], rate: int) -> None:
    """16-bit WAV, or FLAC where the suffix says so; clipped to [-1, 1]. ``read`` returns 16-bit samples unchanged.

    Raises:
        CodecError: unknown suffix, more channels than the format has (FLAC: 8), a rate out of range, a full disk.
    """
    container = container_of(path)
    check(str(path), SignalInfo(rate, len(signal), tuple(signal.shape[1:])))
    samples = sixteen_bits(signal)
    with atomic(path) as temporary:
        try:
            soundfile.write(temporary, samples, rate, "PCM_16", format=container)
        except (soundfile.SoundFileError, ValueError) as error:
            raise CodecError(f"{path}: {len(signal)} channels at {rate} Hz cannot be written ({error})") from error


def container_of(path: Path) -> str:
    """soundfile's name of the format that the suffix stands for; CodecError where audio is not written as such."""
    if path.suffix.lower() not in WRITABLE:
        raise CodecError(f"{path}: cannot write audio as {path.suffix or 'a file without suffix'}: use .wav or .flac")
    return WRITABLE[path.suffix.lower()]


def sixteen_bits(signal: Float[Tensor, "c t"]) -> Int16[np.ndarray, "t c"]:
    """What is written: rounded, and clipped to [-1, 1]."""
    samples = (signal.detach().cpu().float() * 32768).round().clamp(-32768, 32767)
    return np.ascontiguousarray(samples.to(torch.int16).T.numpy())


def mix(signal: Float[Tensor, "c t"], channels: int) -> Float[Tensor, "d t"]:
    """``channels`` channels of any number of them.

    Fewer: output j is the mean of the inputs j, j + channels, j + 2 channels ... (mono: the mean of all).
    More: output j copies input j modulo the number of inputs (mono to stereo: two copies). Also how a codec's channels
    return to a file's: a stereo file from a mono codec has two equal channels.
    """
    given = len(signal)
    if given <= channels:
        return signal if given == channels else signal[torch.arange(channels) % given]
    return torch.stack([signal[j::channels].mean(dim=0) for j in range(channels)])


def check(name: str, signal: SignalInfo) -> None:
    """Raises CodecError for a rate, length or channel count that is not believed or not affordable."""
    if not MIN_RATE <= signal.rate <= MAX_RATE:
        raise CodecError(f"{name}: sample rate {signal.rate} Hz is outside {MIN_RATE} to {MAX_RATE}: convert it first")
    check_size(name, signal.shape[0], signal.channels)


def check_size(name: str, frames: int, channels: int) -> None:
    if frames * channels > MAX_SAMPLES:
        raise CodecError(
            f"{name}: {frames} samples x {channels} channels exceed the limit of {MAX_SAMPLES}: split it into parts"
        )


@contextmanager
def opened(path: Path) -> Iterator[soundfile.SoundFile]:
    if not path.is_file():
        raise CodecError(f"{path}: no such file")
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise CodecError(f"{path}: not readable as audio ({reason}): give a WAV, FLAC, Ogg or MP3 file") from error
    except (TypeError, OSError) as error:  # TypeError: what soundfile says to headerless formats such as .raw
        raise CodecError(f"{path}: not readable as audio ({error}): give a WAV, FLAC, Ogg or MP3 file") from error
    with file:
        if file.format not in READABLE or file.subtype not in SAMPLES:
            raise CodecError(f"{path}: format {file.format} {file.subtype} is not supported: convert it to WAV or FLAC")
        check(str(path), _info(file))
        if file.frames < 1:
            raise CodecError(f"{path}: holds no samples: remove it")
        yield file


def _info(file: soundfile.SoundFile) -> SignalInfo:
    return SignalInfo(file.samplerate, file.channels, (file.frames,))


def _frames(file: soundfile.SoundFile, start: int, frames: int, channels: int) -> Float[Tensor, "c t"]:
    try:
        if start:
            file.seek(start)
    except soundfile.LibsndfileError:
        raise _damaged(file) from None
    return torch.cat(list(mixed(file, frames, channels, BLOCK)), dim=-1)


def mixed(file: soundfile.SoundFile, frames: int, channels: int, block: int) -> Iterator[Float[Tensor, "d t"]]:
    """The next ``frames`` of a file, of which ``block`` samples (channels x frames) at a time are read and mixed."""
    left = frames
    while left:
        try:
            samples = file.read(min(left, max(block // file.channels, 1)), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            samples = np.zeros((0, file.channels), np.float32)
        if not len(samples):
            raise _damaged(file)
        left -= len(samples)
        yield finite(str(file.name), mix(torch.from_numpy(np.ascontiguousarray(samples.T)), channels))


def _damaged(file: soundfile.SoundFile) -> CodecError:
    """One message for all places and reasons, so that a file is counted once."""
    return CodecError(f"{file.name}: damaged, or shorter than the {file.frames} samples of its header: replace it")


def finite(name: str, signal: Float[Tensor, "c t"]) -> Float[Tensor, "c t"]:
    if not torch.isfinite(signal).all():
        raise CodecError(f"{name}: holds samples that are infinite or not a number: replace it")
    return signal
