"""Sounds and pictures as data that a page holds: loudness-matched FLAC, spectrograms, lossless pictures.

Loudness: every decoding is brought to the integrated loudness of its original (ITU-R BS.1770-4), then all takes of a
file are lowered together by so much that none clips.
"""

import base64
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float
from PIL import Image as Pillow
from torch import Tensor
from torch.nn import functional as F

from neuralcodecs.audio import Audio, files
from neuralcodecs.evaluation.report.folder import Results, Take
from neuralcodecs.evaluation.report.loudness import loudness
from neuralcodecs.image import Image
from neuralcodecs.image.files import load

SECONDS = 12
"""Of each sound, from its start, at most."""
LARGEST_GAIN = 20.0
"""Decibels by which a take is made louder or quieter at most: noise instead of a signal stays recognisable as such."""
PICTURE = (600, 180)
"""Width and height of a spectrogram, in pixels."""
SIDE = 768
"""Of a picture that is shown, at most, in pixels: its middle at full resolution, never resized."""


@dataclass(frozen=True)
class Track:
    """One way in which a file sounds or looks: ``codec`` is empty for the original."""

    codec: str
    setting: str
    bitrate: float
    source: str
    picture: str = ""
    gain: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Exhibit:
    """A file with its original first and then its decodings; ``left_out``: how many did not fit in the page."""

    file: str
    group: str
    tracks: tuple[Track, ...]
    left_out: int
    sound: bool


def exhibits(results: Results, count: int, budget: int) -> list[Exhibit]:
    """At most ``count`` files whose decodings were kept, spread over their groups, in at most ``budget`` characters."""
    kept: dict[str, list[Take]] = {}
    for take in results.takes:
        if take.output is not None and results.original(take.file) is not None:
            kept.setdefault(take.file, []).append(take)
    shown: list[Exhibit] = []
    chosen = _spread({file: takes[0].group for file, takes in kept.items()})[:count]
    for number, file in enumerate(chosen):
        exhibit = _exhibit(results, file, kept[file], budget // (len(chosen) - number))
        budget -= sum(len(track.source) + len(track.picture) for track in exhibit.tracks)
        if len(exhibit.tracks) > 1:
            shown.append(exhibit)
    return shown


def _exhibit(results: Results, file: str, takes: Sequence[Take], budget: int) -> Exhibit:
    original = results.original(file)
    assert original is not None  # exhibits has asked
    sound = results.unit == "kbit/s"
    outputs = [(take, take.output) for take in _by_worth(takes) if take.output is not None]
    tracks: list[Track] = []
    for track in (_sounds if sound else _pictures)(original, outputs):
        budget -= len(track.source) + len(track.picture)
        if budget < 0:
            break
        tracks.append(track)
    order = {contender.name: i for i, contender in enumerate(results.contenders)}
    rank = {(take.codec, take.setting): (order.get(take.codec, len(order)), take.order) for take in takes}
    tracks.sort(key=lambda track: rank.get((track.codec, track.setting), (-1, 0.0)))
    return Exhibit(file, takes[0].group, tuple(tracks), len(takes) + 1 - len(tracks), sound)


def _by_worth(takes: Sequence[Take]) -> list[Take]:
    """Those first that should be in a page without room for all: of every codec in turn, far settings before near."""
    curves: dict[str, list[Take]] = {}
    for take in sorted(takes, key=lambda take: take.order):
        curves.setdefault(take.codec, []).append(take)
    ranked = []
    for curve in curves.values():
        # 0, 8, 16 ... before 4, 12 ... before 2, 6 ...: index & -index is the largest power of two that divides it
        places = sorted(range(len(curve)), key=lambda i: -(i & -i) if i else -len(curve))
        ranked += [(turn, curve[place]) for turn, place in enumerate(places)]
    return [take for _, take in sorted(ranked, key=lambda pair: pair[0])]


def _spread(groups: dict[str, str]) -> list[str]:
    """Files in an order that takes one of each group in turn."""
    turns: dict[str, int] = {}
    places = []
    for file, group in groups.items():
        turns[group] = turns.get(group, -1) + 1
        places.append((turns[group], file))
    return [file for _, file in sorted(places, key=lambda place: place[0])]


def _sounds(original: Path, outputs: Sequence[tuple[Take, Path]]) -> Iterator[Track]:
    facts = files.info(original)
    length = min(facts.shape[0], SECONDS * facts.rate)
    signals = [files.read(path, facts.rate, facts.channels)[0] for path in (original, *(p for _, p in outputs))]
    signals = [F.pad(signal[:, :length], (0, max(0, length - signal.shape[1]))) for signal in signals]
    levels = [loudness(signal, facts.rate) for signal in signals]
    gains = [_gain(level, levels[0]) for level in levels]
    peak = max(float(x.abs().max()) * 10 ** (g / 20) for x, g in zip(signals, gains, strict=True))
    lower = 20 * math.log10(max(1.0, peak))
    medium = Audio(facts.rate, facts.channels)
    names = [
        ("", "original", facts.rate * facts.channels * 16 / 1000),
        *((t.codec, t.setting, t.bitrate) for t, _ in outputs),
    ]
    for signal, gain, (codec, setting, bitrate) in zip(signals, gains, names, strict=True):
        source = _flac(signal * 10 ** ((gain - lower) / 20), facts.rate)
        picture = _spectrogram(medium.picture(signal))
        yield Track(codec, setting, bitrate, source, picture, gain - lower, length / facts.rate)


def _gain(level: float, wanted: float) -> float:
    gain = wanted - level
    return max(-LARGEST_GAIN, min(LARGEST_GAIN, gain)) if math.isfinite(gain) else 0.0


def _flac(signal: Float[Tensor, "c t"], rate: int) -> str:
    file = io.BytesIO()
    soundfile.write(file, files.sixteen_bits(signal), rate, format="FLAC", subtype="PCM_16")
    return _uri("audio/flac", file.getvalue())


def _spectrogram(picture: Float[Tensor, "3 h w"]) -> str:
    pixels = (picture * 255).round().byte().permute(1, 2, 0).numpy()
    return _webp(Pillow.fromarray(np.ascontiguousarray(pixels)).resize(PICTURE, Pillow.Resampling.BOX), lossless=False)


def _pictures(original: Path, outputs: Sequence[tuple[Take, Path]]) -> Iterator[Track]:
    medium = Image()
    facts = medium.info(original)
    yield Track("", "original", 8.0 * facts.channels, _webp(_middle(original), lossless=True))
    for take, path in outputs:
        if medium.info(path).shape == facts.shape:
            yield Track(take.codec, take.setting, take.bitrate, _webp(_middle(path), lossless=True))


def _middle(path: Path) -> Pillow.Image:
    picture, _ = load(path, 3)
    left, top = ((max(0, n - SIDE) // 2) for n in picture.size)
    return picture.crop((left, top, min(left + SIDE, picture.width), min(top + SIDE, picture.height)))


def _webp(picture: Pillow.Image, lossless: bool) -> str:
    file = io.BytesIO()
    picture.save(file, "WEBP", lossless=lossless, quality=70, method=4, exact=True)
    return _uri("image/webp", file.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
