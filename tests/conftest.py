"""What every test shares: the real samples of the repository, and one seed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jaxtyping
import pytest
import torch

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "samples"
SHARED = ROOT.parent / "shared" / "data"


@contextmanager
def unchecked() -> Iterator[None]:
    """Without shape checks: they take ten times as long as reading a small file, refuse, too, and stop compilers."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
