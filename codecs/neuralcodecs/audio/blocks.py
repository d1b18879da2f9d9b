"""Audio of any length in blocks: read from files and from WAV on a pipe, written to files and as WAV to a pipe.

https://learn.microsoft.com/windows/win32/multimedia/resource-interchange-file-format-services (RIFF)
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.atomic import Incoming, Outgoing, atomic
from neuralcodecs.audio import files
from neuralcodecs.audio.resample import Resampler, resampled_length
from neuralcodecs.errors import CodecError
from neuralcodecs.medium import Blocks, SignalInfo

BLOCK = 2**18
"""Samples (channels x frames) that are read from a file at a time."""
UNKNOWN = -1
ENDLESS = 0xFFFFFFFF
"""Size in the header of a WAV that is written before its length is known."""
BELIEVED = 0x7FF00000
"""Sizes in the header of a WAV on a pipe are believed up to here: programs that do not know them write more, or 0."""
HEAD_BYTES = 2**20
SAMPLE_FORMATS = {
    (1, 8): ("u1", 128.0, 128.0),
    (1, 16): ("<i2", 0.0, 32768.0),
    (1, 32): ("<i4", 0.0, 2.0**31),
    (3, 32): ("<f4", 0.0, 1.0),
    (3, 64): ("<f8", 0.0, 1.0),
}
"""Of a WAV format tag and bits per sample: numpy's type, the value of silence, and that of full scale above it."""


class FileBlocks:
    """``files.read`` in blocks."""

    def __init__(self, path: Path, rate: int, channels: int) -> None:
        self._path, self._rate, self._channels = path, rate, channels
        self.original = files.info(path)
        self.shape = (resampled_length(self.original.shape[0], self.original.rate, rate),)
        files.check_size(str(path), self.shape[0], channels)

    def __iter__(self) -> Iterator[Float[Tensor, "c t"]]:
        with files.opened(self._path) as file:
            source = files.mixed(file, file.frames, self._channels, BLOCK)
            yield from resampled(source, self._channels, file.samplerate, self._rate)


class PipedWav:
    """A WAV on a pipe whose header has been read, in blocks of a second; its length may be unknown until its end."""

    def __init__(self, file: Incoming, header: "WavHeader", rate: int, channels: int) -> None:
        self._file, self._header, self._rate, self._channels = file, header, rate, channels
        self._frames = header.frames

    @property
    def original(self) -> SignalInfo:
        return SignalInfo(self._header.rate, self._header.channels, (self._frames,))

    @property
    def shape(self) -> tuple[int, ...]:
        known = self._frames != UNKNOWN
        return (resampled_length(self._frames, self._header.rate, self._rate) if known else UNKNOWN,)

    def __iter__(self) -> Iterator[Float[Tensor, "c t"]]:
        yield from resampled(self._mixed(), self._channels, self._header.rate, self._rate)

    def _mixed(self) -> Iterator[Float[Tensor, "c t"]]:
        header, done = self._header, 0
        while done != header.frames:
            wanted = header.rate if header.frames == UNKNOWN else min(header.rate, header.frames - done)
            data = self._file.read(wanted * header.frame_bytes)
            count = len(data) // header.frame_bytes
            if count < wanted and header.frames != UNKNOWN:
                raise CodecError(f"standard input ends after {done + count} of {header.frames} samples: send all of it")
            done += count
            if count:
                signal = header.samples(data[: count * header.frame_bytes])
                yield files.finite("standard input", files.mix(signal, self._channels))
            if count < wanted:
                break
        if not done:
            raise CodecError("standard input: holds no samples: send some")
        self._frames = done
        while self._file.read(2**20):  # what may follow the samples; a sender must not be cut off
            pass


class WavHeader:
    """``frames`` is UNKNOWN where the header does not tell."""

    def __init__(self, form: bytes, size: int) -> None:
        tag, self.channels, self.rate, _, self.frame_bytes, bits = struct.unpack_from("<HHIIHH", form)
        if tag == 0xFFFE and len(form) >= 26:  # extensible: the format itself comes later
            (tag,) = struct.unpack_from("<H", form, 24)
        self._format = SAMPLE_FORMATS.get((tag, bits))
        self.supported = (self._format is not None or (tag, bits) == (1, 24)) and self.channels > 0
        self.supported &= self.frame_bytes == self.channels * bits // 8
        self.frames = size // self.frame_bytes if self.supported and 0 < size < BELIEVED else UNKNOWN

    def samples(self, data: bytes) -> Float[Tensor, "c t"]:
        """As libsndfile reads them: full scale is 1."""
        if self._format is None:  # 24 bits, as the upper ones of 32
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            data = wide.tobytes()
        kind, silence, scale = self._format or SAMPLE_FORMATS[1, 32]
        values = (np.frombuffer(data, kind).astype(np.float64) - silence) / scale
        return torch.from_numpy(np.ascontiguousarray(values.reshape(-1, self.channels).T.astype(np.float32)))


def read_wav_header(file: Incoming) -> tuple[WavHeader | None, bytes]:
    """The header of a WAV up to its samples, None where it is not one that can be read as it comes; what was read."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None, head
    form = b""
    while len(head) < HEAD_BYTES:
        chunk = file.read(8)
        head += chunk
        if len(chunk) < 8:
            break
        (size,) = struct.unpack_from("<I", chunk, 4)
        if chunk[:4] == b"data":
            header = WavHeader(form, size) if len(form) >= 16 else None
            return (header if header is not None and header.supported else None), head
        body = file.read(min(size + size % 2, HEAD_BYTES))
        head += body
        form = body if chunk[:4] == b"fmt " else form
    return None, head


def resampled(
    blocks: Iterator[Float[Tensor, "c t"]], channels: int, source: int, target: int
) -> Iterator[Float[Tensor, "c u"]]:
    """Blocks at another rate, those that are empty left out."""
    resampler = Resampler(channels, source, target)
    for block in blocks:
        made = resampler.push(block)
        if made.shape[-1]:
            yield made
    rest = resampler.flush()
    if rest.shape[-1]:
        yield rest


def restored(blocks: Blocks, channels: int, rate: int) -> Iterator[np.ndarray]:
    """16-bit samples ``(t, channels)`` of the original's rate, channels and, in all, its exact length.

    ``channels`` and ``rate``: of the blocks.
    """
    done = 0
    original = blocks.original
    for block in resampled((b.detach().cpu().float() for b in blocks), channels, rate, original.rate):
        frames = blocks.original.shape[0]  # UNKNOWN, maybe, until the last block has come
        block = block if frames == UNKNOWN else block[:, : max(0, frames - done)]
        done += block.shape[-1]
        if block.shape[-1]:
            yield files.sixteen_bits(files.mix(block, original.channels))
    if done != blocks.original.shape[0]:
        raise CodecError(f"the original of {blocks.original.shape[0]} samples does not fit its signal: it is forged")


def write_file(path: Path, blocks: Blocks, channels: int, rate: int) -> None:
    """``files.write`` of blocks."""
    container, original = files.container_of(path), blocks.original
    files.check(str(path), original)
    with atomic(path) as temporary:
        try:
            with soundfile.SoundFile(
                temporary, "w", original.rate, original.channels, "PCM_16", format=container
            ) as file:
                for samples in restored(blocks, channels, rate):
                    file.write(samples)
        except (soundfile.SoundFileError, ValueError) as error:
            reason = f"{original.channels} channels at {original.rate} Hz cannot be written ({error})"
            raise CodecError(f"{path}: {reason}") from error


def write_wav(file: Outgoing, blocks: Blocks, channels: int, rate: int) -> None:
    """16-bit WAV to a pipe, each block as it comes; the header has the size ENDLESS where the length is not known."""
    original = blocks.original
    files.check("standard output", original)
    size = original.shape[0] * original.channels * 2
    size = ENDLESS - 36 if original.shape[0] == UNKNOWN or size > ENDLESS - 36 else size
    unknown = size == ENDLESS - 36
    width = original.channels * 2
    file.write(b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt ")
    file.write(struct.pack("<IHHIIHH", 16, 1, original.channels, original.rate, original.rate * width, width, 16))
    file.write(b"data" + struct.pack("<I", ENDLESS if unknown else size))
    file.flush()
    for samples in restored(blocks, channels, rate):
        file.write(samples.astype("<i2").tobytes())
        file.flush()
