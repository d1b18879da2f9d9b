"""JPEG, WebP, AVIF, JPEG 2000 and JPEG XL, judged on the same pictures as the models.

Chroma is kept at full resolution wherever the format can (4:4:4; lossy WebP cannot), so that figures on RGB compare.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
from jaxtyping import Float
from PIL import Image as Pillow
from PIL import features
from torch import Tensor

from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.candidate import Candidate, Coded, Decoded, Point
from neuralcodecs.evaluation.programs import run_program
from neuralcodecs.image import files

Options = Callable[[float], dict[str, Any]]


class Format(NamedTuple):
    """One of Pillow's formats. ``feature``: its library by Pillow's name; ``options`` of a value of ``ladder``."""

    pillow: str
    feature: str
    suffix: str
    label: str
    ladder: Sequence[float]
    options: Options
    stated: str


FORMATS = {
    "jpeg": Format(
        "JPEG",
        "jpg",
        ".jpg",
        "q {:g}",
        (5, 10, 20, 35, 50, 70, 85, 95),
        lambda q: {"quality": int(q), "subsampling": 0, "optimize": True},
        "4:4:4, optimized tables",
    ),
    "webp": Format(
        "WEBP",
        "webp",
        ".webp",
        "q {:g}",
        (1, 10, 30, 50, 70, 85, 95),
        lambda q: {"quality": int(q), "method": 6},
        "4:2:0, method 6",
    ),
    "avif": Format(
        "AVIF",
        "avif",
        ".avif",
        "q {:g}",
        (10, 22, 35, 48, 60, 72, 85),
        lambda q: {"quality": int(q), "subsampling": "4:4:4", "speed": 6, "max_threads": 1},
        "4:4:4, speed 6",
    ),
    "jpeg2000": Format(
        "JPEG2000",
        "jpg_2000",
        ".jp2",
        "{:g} bpp",
        (0.1, 0.2, 0.35, 0.6, 1.0, 1.5, 2.5),
        lambda bpp: {"irreversible": True, "quality_mode": "rates", "quality_layers": [24 / bpp]},
        "9/7 wavelet, rates",
    ),
}


class PillowCandidate(Candidate):
    """One of Pillow's formats over its ladder; CodecError where this Pillow was built without it."""

    kind = "classical"

    def __init__(self, name: str) -> None:
        self._format = FORMATS[name]
        if not features.check(self._format.feature):
            raise CodecError(f"{name}: this Pillow has no {self._format.feature}: leave {name} out of --against")
        self.name = name
        self.suffix = self._format.suffix
        self.points = tuple(Point(self._format.label.format(value), float(value)) for value in self._format.ladder)
        library = features.version(self._format.feature)
        self.identity = f"Pillow {PIL.__version__}, {self._format.feature} {library}: {self._format.stated}"

    def encode(self, path: Path, signal: Float[Tensor, "c h w"], point: Point, target: Path) -> Coded:
        picture = _picture(signal)
        started = time.perf_counter()
        try:
            picture.save(target, self._format.pillow, **self._format.options(point.order))
        except (OSError, ValueError) as error:
            raise CodecError(f"{self.name}: {path} cannot be written so ({' '.join(str(error).split())})") from error
        return Coded(time.perf_counter() - started, None)

    def decode(self, source: Path, reference: Float[Tensor, "c h w"]) -> Decoded:
        started = time.perf_counter()
        with Pillow.open(source, formats=(self._format.pillow,)) as file:
            picture = file.convert(files.MODE_OF[len(reference)])
        seconds = time.perf_counter() - started
        return Decoded(files.from_bytes(files.to_tensor(picture)), seconds)


class JpegXL(Candidate):
    """JPEG XL by libjxl's programs, effort 7, over a ladder of distances; CodecError where they are missing."""

    name = "jxl"
    kind = "classical"
    suffix = ".jxl"
    points = tuple(Point(f"d {d:g}", -d) for d in (15.0, 10.0, 6.0, 3.5, 2.0, 1.2, 0.7))

    def __init__(self) -> None:
        if not (shutil.which("cjxl") and shutil.which("djxl")):
            raise CodecError("jxl: no cjxl and djxl on this machine: install libjxl-tools, or leave jxl out")
        self.identity = f"{run_program(['cjxl', '--version'], 'jxl').splitlines()[0].strip()}: effort 7, 1 thread"

    def encode(self, path: Path, signal: Float[Tensor, "c h w"], point: Point, target: Path) -> Coded:
        source = target.with_name(f"{target.stem}.original.png")
        try:
            files.write(source, signal)
            call = ["cjxl", "--quiet", "-d", f"{-point.order:g}", "-e", "7", "--num_threads=0"]
            started = time.perf_counter()
            run_program([*call, str(source), str(target)], self.name)
            return Coded(time.perf_counter() - started, None)
        finally:
            source.unlink(missing_ok=True)

    def decode(self, source: Path, reference: Float[Tensor, "c h w"]) -> Decoded:
        target = source.with_name(f"{source.stem}.decoded.png")
        try:
            started = time.perf_counter()
            run_program(["djxl", "--num_threads=0", str(source), str(target)], self.name)
            seconds = time.perf_counter() - started
            return Decoded(files.read(target, len(reference))[0], seconds)
        finally:
            target.unlink(missing_ok=True)


def _picture(signal: Float[Tensor, "c h w"]) -> Pillow.Image:
    pixels = files.to_bytes(signal).permute(1, 2, 0).numpy()
    return Pillow.fromarray(np.ascontiguousarray(pixels[..., 0] if len(signal) == 1 else pixels))
