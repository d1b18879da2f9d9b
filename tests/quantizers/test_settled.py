"""Quantizers say when their training forwards launch the same work from then on: what CUDA graphs wait for."""

from functools import partial

import pytest
import torch

from neuralcodecs.codec import Quantizer
from neuralcodecs.quantizers import Bypassed, ResidualVQ
from neuralcodecs.quantizers.announced import Announced
from neuralcodecs.quantizers.fsq import FSQ
from neuralcodecs.quantizers.projected import Projected
from neuralcodecs.quantizers.semantic import NestedKMeans
from neuralcodecs.quantizers.split import Split
from neuralcodecs.quantizers.stacked import ResidualStack

learned = partial(ResidualVQ, codebooks=2, codebook_size=8)
WAYS = {
    "alone": lambda: learned(4),
    "bypassed": lambda: Bypassed(4, learned),
    "announced": lambda: Announced(4, learned),
    "projected": lambda: Projected(4, partial(Bypassed, quantizer=learned), 3),
    "stacked": lambda: ResidualStack(4, learned, 2),
    "split": lambda: Split(4, learned, learned),
}


@pytest.mark.parametrize("name", [*WAYS])
def test_settled_once_all_levels_have_codes(name: str) -> None:
    quantizer: Quantizer = WAYS[name]().train()
    for _ in range(2):
        assert not quantizer.settled
        quantizer(torch.randn(2, 4, 50))
        quantizer.update()
    for _ in range(4):  # a stack's later stages start on what earlier ones leave
        quantizer(torch.randn(2, 4, 50))
        quantizer.update()
    assert quantizer.settled


def test_what_learns_by_gradient_is_settled_and_what_asks_the_host_never_is() -> None:
    assert FSQ(2, (3, 3)).settled
    assert not NestedKMeans(4, (2, 4)).settled
