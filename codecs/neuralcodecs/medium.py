"""What the signals of a codec are: how files become signals and back, and in which unit their rate is told."""

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.atomic import Incoming, Outgoing, spooled
from neuralcodecs.configured import Configured
from neuralcodecs.criteria import Metric
from neuralcodecs.errors import CodecError


@dataclass(frozen=True)
class SignalInfo:
    """What a file says of its signal. ``rate``: samples per second (0 for images). ``shape``: axes after channels."""

    rate: int
    channels: int
    shape: tuple[int, ...]


@runtime_checkable
class Blocks(Protocol):
    """A signal that comes in blocks ``(c, t)`` of any size, each in memory for a while only; iterated over once.

    ``shape`` of the codec's signal and ``original``: what the file is or was. A length that only the end tells is
    UNKNOWN (-1) in both until the last block has come.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def original(self) -> SignalInfo: ...
    def __iter__(self) -> Iterator[Float[Tensor, "c t"]]: ...


@dataclass(frozen=True)
class Whole:
    """A signal in one block."""

    signal: Float[Tensor, "c t"]
    original: SignalInfo

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.signal.shape[1:])

    def __iter__(self) -> Iterator[Float[Tensor, "c t"]]:
        yield self.signal


class Span(NamedTuple):
    """A part of a file in time: samples ``start`` to ``stop`` of the original, made of ``first`` to ``last`` of the
    codec's signal (the resampling filter's reach included)."""

    start: int
    stop: int
    first: int
    last: int


@runtime_checkable
class Writer(Protocol):
    """The part of TensorBoard's SummaryWriter that media write to."""

    def add_audio(self, tag: str, snd_tensor: Tensor, global_step: int, sample_rate: int) -> None: ...
    def add_image(self, tag: str, img_tensor: Tensor, global_step: int) -> None: ...


class Medium(Configured, ABC):
    """The edge between files and signals; a codec holds one, so no other code asks whether it is audio or image.

    ``channels`` and ``rate`` (samples per second; 0 where there is no time) are those of the codec's signal.
    ``suffixes``: file name endings that it reads, the first being what decode writes by default.
    ``unit``: of the bitrate, for example ``kbit/s``. ``speed_unit``: of ``speed``.
    """

    channels: int
    rate: int
    suffixes: tuple[str, ...]
    unit: str
    speed_unit: str

    @abstractmethod
    def read(self, path: Path) -> tuple[Float[Tensor, "c *space"], SignalInfo]:
        """The file as a signal of this medium (resampled, mixed to ``channels``) and what the file itself was.

        Raises CodecError naming the file when it cannot be read or is larger than the medium's limit.
        """

    @abstractmethod
    def write(self, path: Path, signal: Float[Tensor, "c *space"], original: SignalInfo) -> None:
        """Write a signal with the original's rate, channels and exact shape."""

    @abstractmethod
    def check_original(self, name: str, shape: tuple[int, ...], original: SignalInfo) -> None:
        """CodecError unless this medium makes a signal of ``shape`` of a file like ``original``; ``name``: of the file.

        Called before decoding: a forged original could make ``write`` take memory that the signal does not account for.
        """

    def read_blocks(self, path: Path) -> Blocks:
        """The signal that ``read`` gives, in constant memory where the medium overrides this; only for one axis."""
        return Whole(*self.read(path))

    @contextmanager
    def receive(self, file: Incoming) -> Iterator[Blocks]:
        """The signal of a file that arrives on a pipe; media that cannot read it as it comes wait for its end."""
        with spooled(file) as path:
            yield self.read_blocks(path)

    def write_blocks(self, path: Path, signal: Blocks) -> None:
        """``write`` what comes; in constant memory where the medium overrides this."""
        whole = torch.cat(list(signal), dim=-1)
        self.write(path, whole, signal.original)

    def send(self, file: Outgoing, signal: Blocks, suffix: str) -> None:
        """Write a file of that suffix to a pipe; media that cannot write it as it comes do so at its end."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"signal{suffix}"
            self.write_blocks(path, signal)
            with path.open("rb") as whole:
                shutil.copyfileobj(whole, file)
        file.flush()

    def facts(self, path: Path) -> dict[str, object]:
        """What metadata may say of the file's format, beyond ``SignalInfo``."""
        return {}

    def caption(self, path: Path) -> str:
        """What the file, or one beside it, says that it shows; empty where nothing does."""
        return ""

    def span(self, start: float, stop: float | None, length: int, original: SignalInfo) -> Span:
        """Where seconds ``start`` to ``stop`` (None: the end) are in a signal of ``length`` samples.

        Raises CodecError for a medium without time, and for a range outside the signal.
        """
        raise CodecError("--from and --to are seconds: this file has none, decode it whole")

    def write_span(self, path: Path, signal: Float[Tensor, "c *space"], span: Span, original: SignalInfo) -> None:
        """Write ``span``, given samples ``span.first`` to ``span.last`` of the codec's signal, as ``write`` would."""
        raise CodecError(f"{path}: this medium has no time, so no part of it can be written")

    @abstractmethod
    def extent(self, shape: tuple[int, ...]) -> float:
        """Size of a signal in the unit of the medium: seconds of audio, pixels of an image."""

    @abstractmethod
    def bitrate(self, bits: float, shape: tuple[int, ...]) -> float:
        """Bits of a signal of ``shape``, expressed in ``unit``."""

    @abstractmethod
    def speed(self, extent: float, seconds: float) -> float:
        """How fast ``extent`` was processed in ``seconds``, in ``speed_unit``."""

    @abstractmethod
    def metrics(self, weights: Mapping[str, Path] | None = None) -> list[Metric]:
        """The metrics that evaluation uses when none are named.

        ``weights``: files with the networks of metrics that need one, by the metric's name; those without are left out.
        Raises CodecError for a name that is not known and for a file that is missing.
        """

    def further_metrics(self) -> tuple[list[Metric], dict[str, str]]:
        """Slower metrics that a judgement adds, of optional packages; and why those that are missing are, by name."""
        return [], {}

    @abstractmethod
    def picture(self, signal: Float[Tensor, "c *space"]) -> Float[Tensor, "3 height width"]:
        """How a signal looks, RGB in [0, 1]: a spectrogram, or the picture itself; bounded in size."""

    @abstractmethod
    def difference(
        self, decoded: Float[Tensor, "c *space"], original: Float[Tensor, "c *space"]
    ) -> Float[Tensor, "3 height width"]:
        """Where two signals of one shape differ, as ``picture`` has them; middle gray where they do not."""

    @abstractmethod
    def show(self, writer: Writer, tag: str, signal: Float[Tensor, "c *space"], step: int) -> None:
        """Write a signal to TensorBoard as one would judge it: sound and spectrogram, or picture."""


def check_weights(weights: Mapping[str, Path], known: tuple[str, ...] = ()) -> None:
    """Raises CodecError where ``weights`` names a metric that is not ``known``."""
    unknown = sorted(set(weights) - set(known))
    if unknown:
        there = ", ".join(known) or "none"
        raise CodecError(
            f"weights for {', '.join(unknown)}: no such metric needs a network here; those that do: {there}"
        )
