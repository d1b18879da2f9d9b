"""Batches of pictures: functions of counters for any workers and resume; crops, flips, squares; bad files."""

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from audio_batches import hashes
from conftest import SAMPLES
from jsonargparse import ArgumentParser
from pictures import bomb
from PIL import Image as Pillow

from neuralcodecs.errors import CodecError
from neuralcodecs.image import files
from neuralcodecs.image.dataset import ImageCrops, ImageFile, ImageSquares, scan
from neuralcodecs.sources import Source, entries
from neuralcodecs.training.data import Batch, Loading, SignalDataModule
from neuralcodecs.training.image_data import ImageDataModule

TRAIN, VAL = str(SAMPLES / "image" / "train"), str(SAMPLES / "image" / "test")


def make(loading: Loading, train: list[Any] | None = None, **settings: Any) -> ImageDataModule:
    return ImageDataModule(train or [TRAIN], [VAL], loading=loading, **({"size": 32, "batch_size": 4} | settings))


def take(data: ImageDataModule, number: int) -> list[Batch]:
    data.setup("fit")
    return list(itertools.islice(data.train_dataloader(), number))


def gradient(folder: Path, width: int, height: int) -> ImageFile:
    """A picture whose red is the column and whose green is the row."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    path = folder / f"{width}x{height}.png"
    Pillow.fromarray(np.stack([columns, rows, 0 * rows], -1).astype(np.uint8)).save(path)
    return ImageFile(path, 1.0, "", (height, width))


def test_batches_depend_on_nothing_but_the_seed() -> None:
    plain = hashes(take(make(Loading(workers=0)), 4))
    assert plain == hashes(take(make(Loading(workers=2)), 4)) == hashes(take(make(Loading(workers=0, cache=True)), 4))
    assert plain != hashes(take(make(Loading(workers=0, seed=1)), 4))
    resumed = make(Loading(workers=0))
    resumed.next_batch = 2
    assert plain[2:] == hashes(take(resumed, 2))
    (batch,) = take(make(Loading(workers=0)), 1)
    assert batch.signal.shape == (4, 3, 32, 32) and batch.signal.min() >= -1 and batch.signal.max() <= 1


def test_crops_are_squares_of_the_stated_sides_anywhere_in_the_picture(tmp_path: Path) -> None:
    file = gradient(tmp_path, 240, 120)
    crops = ImageCrops([file], 3, 48, scale=(0.5, 1.0))
    sides, places, flipped = [], [], 0
    for seed in range(300):
        crop = (crops.draw(0, np.random.default_rng(seed)) + 1) * 127.5
        across, down = (crop[0, :, -1] - crop[0, :, 0]).mean(), (crop[1, -1] - crop[1, 0]).mean()
        flipped += bool(across < 0)
        side = float(down) * 48 / 47
        assert abs(float(across)) * 48 / 47 == pytest.approx(side, abs=2.5)  # squares stay squares
        sides.append(side)
        places.append(float(crop[0].mean()))
    assert 58 < min(sides) < 66 and 114 < max(sides) < 122  # 60 to 120, but for rounding to bytes
    assert min(places) < 45 and max(places) > 195 and 110 < flipped < 190


def test_only_pictures_smaller_than_the_crop_are_enlarged(tmp_path: Path) -> None:
    for width, height, expected in ((100, 80, 64), (50, 40, 40), (1, 1, 1)):
        crops = ImageCrops([gradient(tmp_path, width, height)], 3, 64, scale=(0.1, 0.1))
        crop = (crops.draw(0, np.random.default_rng(0)) + 1) * 127.5
        assert crop.shape == (3, 64, 64)
        assert float((crop[1, -1] - crop[1, 0]).mean()) == pytest.approx(expected - 1, abs=1.5)


def test_validation_is_the_middle_square_of_every_file(tmp_path: Path) -> None:
    squares = ImageSquares([gradient(tmp_path, 200, 100), gradient(tmp_path, 100, 100)], 3, 100)
    whole, _ = files.read(tmp_path / "200x100.png", 3)
    assert torch.equal(squares[0], whole[:, :, 50:150]) and len(squares) == 2
    data = make(Loading(workers=0), batch_size=2)
    data.setup("validate")
    (first,), (again,) = list(data.val_dataloader()), list(data.val_dataloader())
    assert torch.equal(first.signal, again.signal) and first.signal.shape == (2, 3, 32, 32)
    assert first.shapes == ((32, 32),) * 2 and data.extent((32, 32)) == 1024 and data.unit == "pixels"


def test_gray_and_weights(tmp_path: Path) -> None:
    found, failed = scan(entries([Source(TRAIN, weight=2.0)], ImageDataModule.suffixes))
    assert failed == [] and len(found) == 6 and all(f.shape == files.info(f.path).shape for f in found)
    crops = ImageCrops(found, 1, 16, cache=True)
    assert crops.shares.tolist() == [2.0] * 6
    assert torch.equal(
        crops.draw(0, np.random.default_rng(3)), ImageCrops(found, 1, 16).draw(0, np.random.default_rng(3))
    )


def test_bad_files_and_bombs_are_named_once_skipped_and_counted(tmp_path: Path) -> None:
    for number in range(3):
        gradient(tmp_path, 60 + number, 50)
    whole = Path(next(Path(TRAIN).glob("*.jpg"))).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    bomb(tmp_path / "bomb.png", 20000, 20000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batches = take(make(Loading(workers=0, max_bad=0.5), [str(tmp_path)]), 12)
    names = ["bomb.png", "cut.jpg", "text.png"]
    named = sorted(str(w.message) for w in caught if str(w.message).startswith("skipped"))
    assert [next(n for n in names if n in line) for line in named] == names
    assert len(batches) == 12
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(CodecError, match=r"2 of 6 files cannot be used"):
        take(make(Loading(workers=0, max_bad=0.2), [str(tmp_path)]), 12)
    with pytest.raises(CodecError, match="none of 1 files can be used"):
        take(make(Loading(workers=0), [str(tmp_path / "text.png")]), 1)


@pytest.mark.parametrize("settings", [{"size": 0}, {"channels": 2}, {"scale": (0.0, 1.0)}, {"scale": (0.9, 0.5)}])
def test_arguments_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        make(Loading(workers=0), **settings)


def test_it_is_built_from_yaml() -> None:
    text = f"""
data:
  class_path: neuralcodecs.training.ImageDataModule
  init_args: {{train: [{TRAIN}], val: [{{path: {VAL}, weight: 0.5}}], size: 64, scale: [0.3, 0.9]}}
"""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SignalDataModule, "data")
    built = parser.instantiate_classes(parser.parse_object(yaml.safe_load(text))).data
    assert (built.size, built.scale, built.batch_size) == (64, (0.3, 0.9), 16)
