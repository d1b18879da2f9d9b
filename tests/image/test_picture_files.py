"""Picture files of every mode that is promised, by the documented rule, and input that must be refused."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import KODAK, PICTURES, bomb, picture
from PIL import Image as Pillow

from neuralcodecs.errors import CodecError
from neuralcodecs.image import Image, files
from neuralcodecs.medium import SignalInfo


def pixels(path: Path, channels: int = 3) -> np.ndarray:
    """What is read, as (h, w, c) bytes."""
    return files.to_bytes(files.read(path, channels)[0]).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("path", PICTURES, ids=lambda p: p.stem[:20])
def test_samples_come_back_unchanged(path: Path, tmp_path: Path) -> None:
    medium = Image()
    signal, original = medium.read(path)
    assert medium.info(path) == original == SignalInfo(0, 3, tuple(signal.shape[1:]))
    assert signal.dtype == torch.float32 and signal.min() >= -1 and signal.max() <= 1
    medium.write(tmp_path / "out.png", signal, original)
    assert np.array_equal(np.asarray(Pillow.open(tmp_path / "out.png")), np.asarray(Pillow.open(path).convert("RGB")))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (3, 2)])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm", ".webp"])
def test_any_size_in_any_lossless_format(size: tuple[int, int], suffix: str, tmp_path: Path) -> None:
    source = picture(*size)
    source.save(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    assert np.array_equal(pixels(tmp_path / f"a{suffix}"), np.asarray(source))


def test_every_byte_survives_the_way_through_the_signal() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(files.to_bytes(files.from_bytes(every)), every)
    assert torch.equal(
        files.to_bytes(torch.tensor([-9.0, -1.0, 0.003, 1.0, 9.0])), torch.tensor([0, 0, 128, 255, 255]).byte()
    )
    # to the nearest: a third of a step away is still the same byte
    for shift in (-0.3, 0.3):
        assert torch.equal(files.to_bytes(files.from_bytes(every) + shift / 127.5), every)


def test_gray_palette_and_cmyk_by_the_rule(tmp_path: Path) -> None:
    gray, colour = picture(40, 30, "L"), picture(40, 30)
    gray.save(tmp_path / "gray.png")
    assert np.array_equal(pixels(tmp_path / "gray.png"), np.stack([np.asarray(gray)] * 3, -1))
    assert files.info(tmp_path / "gray.png") == SignalInfo(0, 1, (30, 40))
    gray.convert("1").save(tmp_path / "bits.png")
    assert set(np.unique(pixels(tmp_path / "bits.png"))) == {0, 255}
    palette = colour.quantize(16)
    palette.save(tmp_path / "palette.png")
    assert Pillow.open(tmp_path / "palette.png").mode == "P"
    assert np.array_equal(pixels(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))
    colour.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100, subsampling=0)
    assert Pillow.open(tmp_path / "cmyk.jpg").mode == "CMYK"
    assert np.abs(pixels(tmp_path / "cmyk.jpg").astype(int) - np.asarray(colour)).mean() < 2
    luma = np.asarray(colour).astype(float) @ [0.299, 0.587, 0.114]
    colour.save(tmp_path / "colour.png")
    assert np.abs(pixels(tmp_path / "colour.png", 1)[..., 0] - luma).max() <= 1


def test_sixteen_bits_are_rounded(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], dtype=np.uint16)
    for suffix in ("png", "tif"):
        Pillow.fromarray(values).save(tmp_path / f"deep.{suffix}")
        assert pixels(tmp_path / f"deep.{suffix}")[0, :, 0].tolist() == [round(v / 257) for v in values[0].tolist()]
        assert files.info(tmp_path / f"deep.{suffix}").channels == 1


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    colours = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], dtype=np.uint8)
    Pillow.fromarray(colours).save(tmp_path / "alpha.png")
    Pillow.fromarray(colours).save(tmp_path / "alpha.webp", lossless=True, exact=True)
    for name in ("alpha.png", "alpha.webp"):
        assert pixels(tmp_path / name).tolist() == [[[10, 20, 30], [255, 255, 255], [127, 127, 127]]]
    Pillow.fromarray(np.array([[7, 9]], dtype=np.uint8)).save(tmp_path / "key.png", transparency=9)
    assert pixels(tmp_path / "key.png")[0, :, 0].tolist() == [7, 255]
    Pillow.fromarray(np.array([[7 * 257, 9]], dtype=np.uint16)).save(tmp_path / "deep.png", transparency=9)
    assert pixels(tmp_path / "deep.png")[0, :, 0].tolist() == [7, 255]
    indexed = picture(8, 8).quantize(4)
    indexed.save(tmp_path / "indexed.png", transparency=0)
    clear = np.asarray(indexed) == 0
    assert clear.any() and (pixels(tmp_path / "indexed.png")[clear] == 255).all()
    gray = Pillow.fromarray(np.array([[[50, 255], [50, 0]]], dtype=np.uint8), "LA")
    gray.save(tmp_path / "la.png")
    assert pixels(tmp_path / "la.png", 1)[0, :, 0].tolist() == [50, 255]
    assert files.info(tmp_path / "la.png").channels == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int, tmp_path: Path) -> None:
    upright = picture(24, 16)
    undo = {
        2: Pillow.Transpose.FLIP_LEFT_RIGHT,
        3: Pillow.Transpose.ROTATE_180,
        4: Pillow.Transpose.FLIP_TOP_BOTTOM,
        5: Pillow.Transpose.TRANSPOSE,
        6: Pillow.Transpose.ROTATE_90,
        7: Pillow.Transpose.TRANSVERSE,
        8: Pillow.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Pillow.Exif()
    exif[files.ORIENTATION] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    assert files.info(tmp_path / "turned.png").shape == (16, 24)
    assert np.array_equal(pixels(tmp_path / "turned.png"), np.asarray(upright))


@pytest.mark.parametrize("size", [(20000, 20000), (9000, 9000), (11000, 11000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_from_the_header(size: tuple[int, int], tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.png", *size)
    for look in (files.info, lambda p: files.read(p, 3)):
        started = time.process_time()
        with pytest.raises(CodecError, match=rf"bomb\.png: .*limit of {files.MAX_PIXELS}"):
            look(path)
        assert time.process_time() - started < 0.05


def test_a_webp_bomb_is_refused_from_the_header(tmp_path: Path) -> None:
    # VP8X of 16383 x 16383 around a picture of one pixel
    data = io.BytesIO()
    picture(1, 1).save(data, "WEBP", lossless=True)
    small = data.getvalue()[12:]
    canvas = b"VP8X" + (10).to_bytes(4, "little") + bytes(4) + 2 * (16382).to_bytes(3, "little")
    body = b"WEBP" + canvas + small
    (tmp_path / "bomb.webp").write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)
    with pytest.raises(CodecError, match="limit of"):
        files.read(tmp_path / "bomb.webp", 3)


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "bmp", "tif", "ppm"])
def test_truncated_files_are_refused(form: str, tmp_path: Path) -> None:
    picture(96, 64).save(tmp_path / f"whole.{form}")
    whole = (tmp_path / f"whole.{form}").read_bytes()
    files.read(tmp_path / f"whole.{form}", 3)
    path = tmp_path / f"cut.{form}"
    for length in {0, 1, 10, 30, *range(40, len(whole) - 20, len(whole) // 12)}:
        path.write_bytes(whole[:length])
        with pytest.raises(CodecError, match=rf"cut\.{form}: ") as caught:
            files.read(path, 3)
        assert "\n" not in str(caught.value)


def test_flipped_bits_never_raise_anything_else(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for form in ("png", "jpg", "webp", "bmp", "tif", "ppm"):
        picture(24, 16).save(tmp_path / f"whole.{form}")
        whole = bytearray((tmp_path / f"whole.{form}").read_bytes())
        for position in generator.integers(0, min(len(whole), 400), 60):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << int(generator.integers(8))
            (tmp_path / "a").write_bytes(damaged)
            try:
                files.info(tmp_path / "a")
                files.read(tmp_path / "a", 3)
            except CodecError:
                pass


def test_other_formats_and_other_things_are_refused(tmp_path: Path) -> None:
    picture(9, 9).save(tmp_path / "a.gif")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "a.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for name in ("a.gif", "text.png", "empty.png", "a.eps"):
        with pytest.raises(CodecError, match="not readable as a picture"):
            files.read(tmp_path / name, 3)
    for path in (tmp_path / "absent.png", tmp_path):
        with pytest.raises(CodecError, match="no such file"):
            files.info(path)
    Pillow.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(CodecError, match="mode F"):
        files.read(tmp_path / "float.tif", 3)
    Pillow.fromarray(np.array([[-5, 70000]], np.int32)).save(tmp_path / "int.tif")
    with pytest.raises(CodecError, match="0 to 65535"):
        files.read(tmp_path / "int.tif", 3)


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    signal, info = torch.zeros(3, 4, 5), SignalInfo(0, 3, (4, 5))
    with pytest.raises(CodecError, match=r"\.jpg: use \.png"):
        Image().write(tmp_path / "a.jpg", signal, info)
    with pytest.raises(CodecError, match=r"of an original of \(40, 5\)"):
        Image().write(tmp_path / "a.png", signal, SignalInfo(0, 3, (40, 5)))
    with pytest.raises(CodecError, match="2 channels"):
        files.write(tmp_path / "a.png", signal[:2])
    assert list(tmp_path.iterdir()) == []


def test_the_medium_describes_itself_and_its_units() -> None:
    medium = Image()
    assert medium.describe() == {"class_path": "neuralcodecs.image.medium.Image", "init_args": {"channels": 3}}
    assert medium.rate == 0 and medium.suffixes[0] == ".png" and medium.unit == "bit/pixel"
    assert medium.extent((30, 40)) == 1200 and medium.bitrate(600.0, (30, 40)) == 0.5
    assert medium.speed(3e6, 2.0) == 1.5 and medium.speed_unit == "Mpixel/s"
    with pytest.raises(CodecError, match="channels 2"):
        Image(2)


def test_shown_pictures_are_the_middle_and_differences_are_gray_where_equal() -> None:
    medium = Image()
    signal, _ = medium.read(KODAK)
    wide = torch.cat([signal] * 3, dim=2)
    shown = medium.picture(wide)
    assert shown.shape == (3, min(512, signal.shape[1]), 512) and shown.min() >= 0 and shown.max() <= 1
    left = (wide.shape[2] - 512) // 2
    torch.testing.assert_close(shown, (wide[:, :512, left : left + 512] + 1) / 2)
    assert torch.equal(medium.difference(signal, signal), torch.full_like(medium.picture(signal), 0.5))
    brighter = medium.difference(signal * 0.5 + 0.1, signal * 0.5)
    torch.testing.assert_close(brighter, torch.full_like(brighter, 0.5 + 4 * 0.05))
    assert Image(1).picture(signal[:1]).shape[0] == 3
