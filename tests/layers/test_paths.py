"""GPU paths are off unless asked for, inside only, and change nothing on a CPU."""

import pytest
import torch

from neuralcodecs.audio.discriminators import MultiScaleSTFTDiscriminator
from neuralcodecs.encoders import DACEncoder, SEANetEncoder
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import paths
from neuralcodecs.layers.paths import PATHS, asked, gpu_paths


class OnGPU(torch.Tensor):
    is_cuda = True  # type: ignore[assignment]


def test_off_by_default_and_after_the_block() -> None:
    x = torch.zeros(1).as_subclass(OnGPU)
    assert not any(asked(path, x) for path in PATHS)
    with gpu_paths(["rows"]):
        assert [asked(path, x) for path in PATHS] == [path == "rows" for path in PATHS]
        assert not asked("rows", torch.zeros(1))
        with gpu_paths([]):
            assert not asked("rows", x)
        with pytest.raises(ZeroDivisionError), gpu_paths(["fused"]):
            raise ZeroDivisionError
        assert asked("rows", x) and not asked("fused", x)
    assert paths._asked == frozenset()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(CodecError, match="no GPU path is called quick: there are rows, fused"):
        gpu_paths(["quick"]).__enter__()


@pytest.mark.parametrize(
    "part", [SEANetEncoder(filters=4), DACEncoder(1, 8, 4, (2, 4)), MultiScaleSTFTDiscriminator((256,))]
)
def test_on_a_cpu_nothing_changes(part: torch.nn.Module) -> None:
    signal = torch.randn(2, 1, 700)
    wanted = part(signal)
    with gpu_paths(PATHS):
        got = part(signal)
    one, other = (y if torch.is_tensor(y) else y[0].logits for y in (got, wanted))
    assert torch.equal(one, other)
