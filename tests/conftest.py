"""What every test shares: the real samples of the repository, and one seed."""

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "samples"
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
