"""What ``encode`` codes a file with: the model that was named, or the default one for the file's suffix."""

import argparse
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeGuard

from torch import Tensor

from neuralcodecs.bitrates import levels_for, levels_written, varies
from neuralcodecs.bitstream.coarse import Coarse
from neuralcodecs.bitstream.metadata import Metadata
from neuralcodecs.captions import bounded, found, with_captions
from neuralcodecs.cli.jobs import Job
from neuralcodecs.cli.load import load_model
from neuralcodecs.codes import Codes
from neuralcodecs.coding import Coding
from neuralcodecs.errors import CodecError
from neuralcodecs.files import encode_signals, put_codes
from neuralcodecs.medium import SignalInfo
from neuralcodecs.refining import refined
from neuralcodecs.shipped import ALL_SUFFIXES, default_folder, default_for
from neuralcodecs.stream_files import can_stream, is_long


class Encoder:
    """One model with the levels and the prior that the options ask for.

    Args:
        source: of the model.
        options: of the command.
        default: the model was not named, so a file that it is not meant for is remarked on, the first time.
    """

    def __init__(self, source: str, options: argparse.Namespace, default: bool) -> None:
        self._refine: int | None = options.refine
        self._silent = not default
        self.codec, self.identity = load_model(source, options, options.tile)
        if options.beam is not None:
            self.codec.quantizer.widen(options.beam)
        self.medium = self.codec.medium
        self._bitrate: float | None = options.bitrate if varies(self.codec) else None
        nominal = options.bitrate is not None and self._bitrate is None
        chosen = levels_for(self.codec, options.bitrate) if nominal else options.levels
        self.levels = self.codec.check_levels(chosen)  # before anything is read
        self.coding = Coding(self.codec, options.prior, _coarse(options, self.levels))
        self.streams = can_stream(self.codec)
        self._longest = self.codec.quantizer.longest_caption
        self._caption = None if options.caption is None else bounded(options.caption, self._longest)

    def caption_of(self, path: Path) -> bytes:
        """The user's, else what the data says."""
        return found(self.codec, path) if self._caption is None else self._caption

    def read(self, path: Path) -> tuple[Tensor, SignalInfo] | None:
        """The signal, None for one that is too long to be coded whole."""
        if self.streams and is_long(self.codec, self.medium.read_blocks(path).shape[0]):
            return None
        signal, original = self.medium.read(path)
        self.remark(str(path), original)
        return signal, original

    def encode(
        self, read: Sequence[tuple[Tensor, SignalInfo]], metadata: Sequence[Metadata], captions: Sequence[bytes]
    ) -> list[Codes]:
        """Codes of signals with their captions; what their files tell besides counts for a wanted bitrate."""
        coded = self._encode(read, metadata)
        if not self._longest:
            return coded
        return [with_captions(codes, [caption]) for codes, caption in zip(coded, captions, strict=True)]

    def _encode(self, read: Sequence[tuple[Tensor, SignalInfo]], metadata: Sequence[Metadata]) -> list[Codes]:
        signals = [signal for signal, _ in read]
        if self._refine is None and self._bitrate is None:
            return encode_signals(self.codec, signals, self.levels)
        levels = [self._levels(*item, facts) for item, facts in zip(read, metadata, strict=True)]
        pairs = list(zip(signals, levels, strict=True))
        if self._refine is None:
            return [encode_signals(self.codec, [signal], n)[0] for signal, n in pairs]
        return [refined(self.codec, signal, n, self._refine) for signal, n in pairs]

    def _levels(self, signal: Tensor, original: SignalInfo, metadata: Metadata) -> int:
        if self._bitrate is None:
            return self.levels

        def put(file: io.BytesIO, codes: Codes) -> None:
            put_codes(file, self.codec, codes, original, self.identity, metadata, self.coding)

        return levels_written(self.codec, signal, self._bitrate, put)

    def remark(self, name: str, original: SignalInfo) -> None:
        """Say once that a default model of speech keeps less than a file of more channels or a higher rate has."""
        own = self.medium
        if self._silent or not own.rate or (original.rate <= own.rate and original.channels <= own.channels):
            return
        self._silent = True
        had = f"{original.channels} channel{'s' * (original.channels > 1)} at {original.rate} Hz"
        print(
            f"neuralcodecs: {name}: {had}, coded as {own.channels} at {own.rate} Hz: the default model is for speech, "
            "-m names another",
            file=sys.stderr,
        )


class Encoders:
    """The encoder of each job; models are loaded when the jobs are known, before anything is read."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._given = Encoder(options.model, options, default=False) if options.model else None
        self._defaults: dict[str, Encoder] = {}
        self.suffixes = ALL_SUFFIXES if self._given is None else self._given.medium.suffixes

    def load(self, jobs: Iterable[Job]) -> None:
        """Load the default models that the jobs need.

        Raises CodecError where one choice of rate would have to serve two media.
        """
        if self._given is not None:
            return
        names = sorted(set(map(default_for, filter(_has_default, (job.source for job in jobs)))))
        if len(names) > 1 and (self._options.bitrate, self._options.levels) != (None, None):
            raise CodecError("sound and pictures have rates of their own: with -b or --levels, encode them apart")
        self._defaults = {name: Encoder(str(default_folder(name)), self._options, default=True) for name in names}

    def of(self, job: Job) -> Encoder:
        """CodecError for a file that no default model is for."""
        if self._given is not None:
            return self._given
        if job.source is None:
            raise CodecError("standard input has no suffix that tells its medium: name a model, for example -m speech")
        return self._defaults[default_for(job.source)]

    @property
    def speed_unit(self) -> str:
        encoders = self._defaults.values() if self._given is None else [self._given]
        return " or ".join(dict.fromkeys(encoder.medium.speed_unit for encoder in encoders))


def _has_default(source: Path | None) -> TypeGuard[Path]:
    return source is not None and source.suffix.lower() in ALL_SUFFIXES


def _coarse(options: argparse.Namespace, levels: int) -> Coarse | None:
    if options.coarse is None:
        if options.draw is not None:
            raise CodecError("--draw is of the levels that --coarse leaves out: give both")
        return None
    coarse = Coarse(options.coarse, options.draw)
    coarse.check(levels)
    return coarse
