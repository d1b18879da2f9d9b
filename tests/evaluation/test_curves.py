"""The picture of a run: every scalar that was logged, nothing where nothing was."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from neuralcodecs.evaluation.curves import draw_curves


def test_a_run_becomes_a_picture_whose_panels_show_its_scalars(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(60):
            writer.add_scalar("train/waveform", 1 / (step + 1), step)
            for level in range(12):
                writer.add_scalar(f"codebook/usage/{level}", level + step, step)
        writer.add_scalar("eval/pesq_wb/8_levels", 2.0, 59)
        writer.add_scalar("lr-Adam", 1e-3, 0)  # not of the run's course
    with Image.open(draw_curves(tmp_path) or "") as picture:
        pixels = np.array(picture.convert("RGB")).astype(int)
    assert picture.format == "PNG"
    thirds = np.array_split(pixels, 3, axis=1)  # three panels, side by side
    assert all((third.max(axis=2) - third.min(axis=2) > 60).sum() > 20 for third in thirds), "a panel has no curve"
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith("events")] == ["curves.png"]


def test_a_folder_without_scalars_gives_none(tmp_path: Path) -> None:
    assert draw_curves(tmp_path) is None
    assert not list(tmp_path.iterdir())
