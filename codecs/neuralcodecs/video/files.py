"""Video files by PyAV (FFmpeg): bounded frame by frame, the container chosen by the suffix and never guessed.

The rule: the first video stream, every frame of it, as 8-bit RGB by FFmpeg's own conversion. Its rate is the average
one; sound, rotation and the times of single frames are not kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from neuralcodecs.atomic import atomic
from neuralcodecs.errors import CodecError
from neuralcodecs.image.files import from_bytes, to_bytes
from neuralcodecs.medium import SignalInfo

DEMUXERS = {
    ".mp4": "mp4",
    ".mkv": "matroska",
    ".y4m": "yuv4mpegpipe",
    ".mov": "mov",
    ".webm": "matroska",
    ".avi": "avi",
}
"""By suffix: a file that says it is another kind cannot make FFmpeg read playlists, or other files."""
MAX_PIXELS = 2**26
"""Largest frames x height x width: what a .ncs file may hold; 768 MiB as float32 RGB."""
RATE = 1000
"""Rates are in frames per so many seconds: whole numbers that tell 29.97 from 30."""
MAX_RATE = 1000 * RATE


def load(path: Path, start: int = 0, count: int | None = None) -> tuple[UInt8[Tensor, "3 t h w"], SignalInfo]:
    """Frames ``start`` to ``start + count`` (None: the end), and what the file is; its length is that of the frames.

    Raises:
        CodecError: no file, not readable, no such frames, frames of several sizes, more pixels than the limit.
    """
    frames: list[UInt8[Tensor, "h w 3"]] = []
    with _open(path) as (container, stream):
        rate = _rate(path, stream)
        for index, frame in enumerate(_decoded(path, container, stream)):
            check_size(str(path), (index + 1 - start, frame.height, frame.width))
            if frames and tuple(frames[0].shape[:2]) != (frame.height, frame.width):
                raise CodecError(f"{path}: frame {index} has another size than those before: convert it first")
            if index >= start:
                frames.append(torch.from_numpy(frame.to_ndarray(format="rgb24").copy()))
            if count is not None and len(frames) == count:
                break
    if not frames or (count is not None and len(frames) < count):
        raise CodecError(f"{path}: {len(frames)} frames from number {start} on: replace it")
    clip = torch.stack(frames).permute(3, 0, 1, 2).contiguous()
    return clip, SignalInfo(rate, 3, tuple(clip.shape[1:]))


def info(path: Path) -> SignalInfo:
    """Size, rate and number of frames, counted without decoding them."""
    with _open(path) as (container, stream):
        rate, height, width = _rate(path, stream), stream.height, stream.width
        try:
            frames = sum(packet.size > 0 for packet in container.demux(stream))
        except Exception as error:
            raise _damaged(path, error) from error
    if not frames or height < 1 or width < 1:
        raise CodecError(f"{path}: {frames} frames of {height} x {width}: replace it")
    check_size(str(path), (1, height, width))
    return SignalInfo(rate, 3, (frames, height, width))


def read(path: Path) -> tuple[Float[Tensor, "3 t h w"], SignalInfo]:
    """All frames in [-1, 1], and what the file is; raises as ``load`` does."""
    clip, original = load(path)
    return from_bytes(clip), original


def write(path: Path, signal: Float[Tensor, "3 t h w"], rate: int) -> None:
    """By suffix: .mkv without loss (FFV1, RGB), .y4m without loss but for the colours (4:4:4), .mp4 as H.264, crf 12.

    ``rate``: frames per 1000 seconds. H.264 has 4:2:0 colours, or 4:4:4 where a side is odd.

    Raises:
        CodecError: another suffix, other than 3 channels, more pixels than the limit, no such encoder in FFmpeg.
    """
    kinds = {
        ".mp4": ("mp4", "libx264", "yuv420p", {"crf": "12"}),
        ".mkv": ("matroska", "ffv1", "bgr0", {}),
        ".y4m": ("yuv4mpegpipe", "wrapped_avframe", "yuv444p", {}),
    }
    if path.suffix.lower() not in kinds:
        raise CodecError(f"{path}: cannot write video as {path.suffix or 'a file without suffix'}: {', '.join(kinds)}")
    if len(signal) != 3 or not 1 <= rate <= MAX_RATE:
        raise CodecError(f"{path}: {len(signal)} channels at {rate} frames per 1000 s: give 3, and 1 to {MAX_RATE}")
    check_size(str(path), tuple(signal.shape[1:]))
    muxer, codec, pixels, options = kinds[path.suffix.lower()]
    height, width = signal.shape[2:]
    odd = bool(height % 2 or width % 2)
    clip = to_bytes(signal.detach().cpu()).permute(1, 2, 3, 0).contiguous().numpy()
    with atomic(path) as temporary:
        try:
            with av.open(str(temporary), "w", format=muxer) as container:
                stream: Any = container.add_stream(codec, rate=Fraction(rate, RATE), options=dict(options))
                stream.width, stream.height = width, height
                stream.pix_fmt = "yuv444p" if odd and pixels == "yuv420p" else pixels
                for index, picture in enumerate(clip):
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                    frame = frame.reformat(format=stream.pix_fmt)
                    frame.pts, frame.time_base = index, Fraction(RATE, rate)
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
        except (av.FFmpegError, ValueError) as error:
            raise CodecError(f"{path}: this FFmpeg cannot write it ({error}): use another suffix") from error


def check_size(name: str, shape: tuple[int, ...]) -> None:
    frames, height, width = shape
    if frames * height * width > MAX_PIXELS:
        raise CodecError(
            f"{name}: {frames} x {height} x {width} pixels exceed the limit of {MAX_PIXELS}: cut or shrink the clip"
        )


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Any]]:
    if not path.is_file():
        raise CodecError(f"{path}: no such file")
    demuxer = DEMUXERS.get(path.suffix.lower())
    if demuxer is None:
        raise CodecError(f"{path}: not a video by its name: give a {', '.join(DEMUXERS)} file")
    try:
        container = av.open(str(path.absolute()), format=demuxer, options={"protocol_whitelist": "file"})
    except Exception as error:  # FFmpeg's parsers raise what damaged files make them raise
        raise _damaged(path, error) from error
    with container:
        if not container.streams.video:
            raise CodecError(f"{path}: has no video stream: give one that has")
        stream = container.streams.video[0]
        check_size(str(path), (1, stream.height, stream.width))
        yield container, stream


def _decoded(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    try:
        yield from container.decode(stream)
    except av.FFmpegError as error:
        raise _damaged(path, error) from error


def _rate(path: Path, stream: Any) -> int:
    rate = stream.average_rate or stream.base_rate
    rounded = round(rate * RATE) if rate else 0
    if not 1 <= rounded <= MAX_RATE:
        raise CodecError(f"{path}: {rate} frames per second: give 0.001 to {MAX_RATE // RATE}")
    return rounded


def _damaged(path: Path, error: Exception) -> CodecError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return CodecError(f"{path}: not readable as a video, or damaged ({reason}): replace it")
