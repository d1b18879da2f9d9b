"""Picture files of any mode as 8-bit RGB or gray: bounded from the header, by one rule, and exact for 8-bit pixels.

The rule, in this order:

1. The first picture of the file, turned as its EXIF orientation says. Colour profiles and gamma are not applied.
2. 16-bit gray is rounded to 8 bits (v / 257). Of 16-bit colour Pillow keeps the eight high bits.
3. A palette becomes its colours; CMYK, YCbCr, LAB and HSV become RGB as Pillow converts them.
4. Transparency (an alpha channel, or a transparent colour) is laid over white.
5. Gray files for an RGB codec get three equal channels; colour files for a gray codec their ITU-R BT.601 luma.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image as Pillow
from PIL import ImageOps
from torch import Tensor

from neuralcodecs.atomic import atomic
from neuralcodecs.errors import CodecError
from neuralcodecs.medium import SignalInfo

READABLE = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")
"""Formats by Pillow's names; its rarer parsers are where its vulnerabilities are found."""
MAX_PIXELS = 2**26
"""Largest height x width: what a .ncs file may hold (``bitstream.limits.PIXELS``); 768 MiB as float32 RGB."""
GRAY = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B"}
DEEP = {"I", "I;16", "I;16L", "I;16B"}
ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}
MODES = {*GRAY, *ALPHA, "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
ORIENTATION = 274
"""EXIF tag; 5 to 8 swap height and width."""
DESCRIPTION = 270
"""EXIF tag of what a picture shows."""
LONGEST_TEXT = 65536
"""Characters that are read of it."""
MODE_OF = {1: "L", 3: "RGB"}

# ours is the lower limit and an error
warnings.filterwarnings("ignore", category=Pillow.DecompressionBombWarning)


def info(path: Path) -> SignalInfo:
    """What the header says: channels (1 for gray files, else 3), height and width after EXIF rotation."""
    with _open(path) as picture:
        return _info(picture)


def caption(path: Path) -> str:
    """What a picture shows, in words: the text file beside it (``a.txt`` of ``a.png``), else its own description.

    That is EXIF's ImageDescription, or a PNG's text of the keyword Description. Empty where there is none of them.
    """
    beside = path.with_suffix(".txt")
    if beside.is_file():
        with beside.open("rb") as file:
            return file.read(LONGEST_TEXT).decode("utf-8", "ignore").strip()
    with _open(path) as picture:
        try:
            found = picture.info.get("Description") or picture.getexif().get(DESCRIPTION)
        except Exception:  # damaged EXIF, of which Pillow's parsers raise anything: the picture itself may be good
            return ""
    return found[:LONGEST_TEXT].strip() if isinstance(found, str) else ""


def load(path: Path, channels: int) -> tuple[Pillow.Image, SignalInfo]:
    """The file as a Pillow image of mode ``L`` (1 channel) or ``RGB`` (3), by the rule above, and what it was.

    Raises:
        CodecError: no file, no readable or no allowed format or mode, too many pixels, truncated or damaged.
    """
    with _open(path) as picture:
        original = _info(picture)
        try:
            picture.load()
            turned = ImageOps.exif_transpose(picture)
            converted = _flatten(turned, path)
            return converted if converted.mode == MODE_OF[channels] else converted.convert(MODE_OF[channels]), original
        except CodecError:
            raise
        except Exception as error:  # Pillow's parsers have no common base for what damaged files raise
            raise CodecError(f"{path}: damaged or truncated ({_line(error)}): replace it") from error


def read(path: Path, channels: int) -> tuple[Float[Tensor, "c h w"], SignalInfo]:
    """The file in [-1, 1] and what it was; raises as ``load`` does."""
    picture, original = load(path, channels)
    return from_bytes(to_tensor(picture)), original


def write(path: Path, signal: Float[Tensor, "c h w"]) -> None:
    """PNG of 8 bits per channel, rounded and clipped to [-1, 1]. ``read`` returns 8-bit pixels unchanged.

    Raises:
        CodecError: another suffix than .png, neither 1 nor 3 channels, more pixels than the limit.
    """
    if path.suffix.lower() != ".png":
        raise CodecError(f"{path}: cannot write a picture as {path.suffix or 'a file without suffix'}: use .png")
    if len(signal) not in MODE_OF:
        raise CodecError(f"{path}: a picture of {len(signal)} channels cannot be written: give 1 or 3")
    check_size(str(path), (signal.shape[1], signal.shape[2]))
    pixels = to_bytes(signal.detach().cpu()).permute(1, 2, 0).numpy()
    with atomic(path) as temporary:
        Pillow.fromarray(pixels[..., 0] if len(signal) == 1 else pixels).save(temporary, "PNG")


def to_bytes(signal: Float[Tensor, "*any"]) -> UInt8[Tensor, "*any"]:
    """[-1, 1] to 0 ... 255, rounded to the nearest and clipped."""
    return ((signal.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def from_bytes(pixels: UInt8[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """0 ... 255 to [-1, 1]; ``to_bytes`` undoes it exactly."""
    return pixels.float() / 127.5 - 1


def to_tensor(picture: Pillow.Image) -> UInt8[Tensor, "c h w"]:
    """A Pillow image of mode ``L`` or ``RGB`` as a tensor."""
    array = np.asarray(picture)
    return torch.from_numpy(np.array(array if array.ndim == 3 else array[..., None]).transpose(2, 0, 1).copy())


def check_size(name: str, shape: tuple[int, ...]) -> None:
    height, width = shape
    if height * width > MAX_PIXELS:
        raise CodecError(f"{name}: {height} x {width} pixels exceed the limit of {MAX_PIXELS}: cut or shrink it")


@contextmanager
def _open(path: Path) -> Iterator[Pillow.Image]:
    """The file with its header read, its pixels not, and its size and mode accepted."""
    if not path.is_file():
        raise CodecError(f"{path}: no such file")
    try:
        picture = Pillow.open(path, formats=READABLE)
    except Pillow.DecompressionBombError as error:
        raise CodecError(f"{path}: its pixels exceed the limit of {MAX_PIXELS}: cut or shrink it") from error
    except Exception as error:  # as above: UnidentifiedImageError for foreign files, anything for damaged ones
        known = ", ".join(READABLE)
        raise CodecError(f"{path}: not readable as a picture, or damaged: give a {known} file") from error
    with picture:
        check_size(str(path), (picture.height, picture.width))
        if picture.mode not in MODES:
            raise CodecError(f"{path}: pixels of mode {picture.mode} are not supported: convert to 8 or 16 bits")
        yield picture


def _info(picture: Pillow.Image) -> SignalInfo:
    try:
        turned = picture.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    except Exception:  # EXIF is optional, and so is its being readable; exif_transpose meets the same error
        turned = False
    width, height = picture.size
    return SignalInfo(0, 1 if picture.mode in GRAY else 3, (width, height) if turned else (height, width))


def _flatten(picture: Pillow.Image, path: Path) -> Pillow.Image:
    """Mode ``L`` or ``RGB`` without transparency."""
    if picture.mode in DEEP:
        return _eight_bits(picture, path)
    if picture.mode in ALPHA or "transparency" in picture.info:
        over = picture.convert("RGBA")
        flat = Pillow.alpha_composite(Pillow.new("RGBA", over.size, "white"), over)
        return flat.convert("L" if picture.mode in GRAY else "RGB")
    return picture.convert("L" if picture.mode in GRAY else "RGB")


def _eight_bits(picture: Pillow.Image, path: Path) -> Pillow.Image:
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise CodecError(f"{path}: gray values outside 0 to 65535 are not supported: convert to 8 or 16 bits")
    clear = picture.info.get("transparency")
    pixels = ((values + 128) // 257).astype(np.uint8)
    return Pillow.fromarray(pixels if clear is None else np.where(values == clear, np.uint8(255), pixels))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
