"""Export of priors that were trained on real speech: it costs next to nothing, and an independent decoder agrees."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from speech_codes import ALPHABET, speech_codes, trained
from torch import Tensor

from neuralcodecs.errors import CodecError
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer, TokenTransformer
from neuralcodecs.priors.counted import StaticPrior
from neuralcodecs.priors.learned import Exported
from neuralcodecs.priors.prior import table_bits
from neuralcodecs.token_coder import LaneCoder

HEADS, WINDOW = 4, 100
KINDS = {"parallel": ParallelTransformer, "factorised": FactorisedTransformer}
REFERENCE = Path(__file__).with_name("pem24_reference.py")


@pytest.fixture(scope="module")
def codes() -> Tensor:
    return torch.cat(speech_codes()[1], -1)


@pytest.fixture(scope="module", params=sorted(KINDS))
def model(request: pytest.FixtureRequest) -> TokenTransformer:
    torch.manual_seed(0)
    return trained(KINDS[request.param](ALPHABET, 64, HEADS, 2, WINDOW), 100)


@pytest.fixture(scope="module")
def exported(model: TokenTransformer, codes: Tensor) -> Exported:
    return model.export_checked(codes)


def test_rounding_costs_less_than_a_thousandth(exported: Exported) -> None:
    assert abs(exported.loss) <= 1e-3


def test_the_past_of_speech_saves_bits(exported: Exported, codes: Tensor) -> None:
    static = StaticPrior(ALPHABET)
    static.count(speech_codes()[0])
    assert exported.integer_bits < 0.9 * table_bits(static, codes)


def test_payload_is_as_long_as_the_tables_say(exported: Exported, codes: Tensor) -> None:
    for lanes in (1, 4):
        data = LaneCoder(exported.prior, lanes).encode(codes[0])
        cut = torch.stack(codes[0].split(codes.shape[2] // lanes, 1)) if lanes > 1 else codes
        assert 8 * len(data) <= 1.005 * table_bits(exported.prior, cut) + 32


def test_float_models_see_only_the_past(model: TokenTransformer, codes: Tensor) -> None:
    piece = codes[..., :WINDOW]
    other = piece.clone()
    other[:, 1, 50:] = (other[:, 1, 50:] + 1) % ALPHABET[1]
    changed = (model(piece) - model(other)).abs().amax((0, 3)) > 1e-4
    assert not changed[:51, 0].any() and not changed[:50, 1].any() and changed[51:, 0].all()
    # the second level is told the first one of its frame, where the model is factorised
    other = piece.clone()
    other[:, 0, 50] = (other[:, 0, 50] + 1) % ALPHABET[0]
    told = bool((model(piece) - model(other))[0, 50, 1].abs().max() > 1e-4)
    assert told == (model.export().parallel(2) == 1)


@pytest.mark.parametrize("lanes", [1, 3])
def test_numpy_decoder_without_torch_in_another_process(
    exported: Exported, codes: Tensor, tmp_path: Path, lanes: int
) -> None:
    piece = codes[0, :, :205]
    save_file(exported.prior.state_dict(), tmp_path / "prior.safetensors")
    (tmp_path / "payload").write_bytes(LaneCoder(exported.prior, lanes).encode(piece))
    settings = {"alphabet": ALPHABET, "heads": HEADS, "window": WINDOW, "levels": 2, "positions": 205, "lanes": lanes}
    subprocess.run(
        [
            sys.executable,
            REFERENCE,
            *(tmp_path / n for n in ("prior.safetensors", "payload", "out.npy")),
            json.dumps(settings),
        ],
        check=True,
    )
    assert np.array_equal(np.load(tmp_path / "out.npy"), piece.numpy())
    assert len(REFERENCE.read_text().splitlines()) < 100


def test_what_costs_more_is_refused(model: TokenTransformer, codes: Tensor) -> None:
    """An outlier of the kind that long training grows: its row is left too few bits for the rest."""
    with pytest.raises(CodecError, match="cost"):
        model.export_checked(codes, limit=-0.5)
    spoiled = type(model)(ALPHABET, 64, HEADS, 2, WINDOW)
    spoiled.load_state_dict(model.state_dict())
    with torch.no_grad():
        for block in spoiled.time:
            block.rise.weight *= 1e-3  # below the resolution of the activations that it makes
            block.fall.weight *= 30
    with pytest.raises(CodecError, match=r"cost|too large"):
        spoiled.export_checked(codes)


def test_every_parameter_learns() -> None:
    for kind in KINDS.values():
        model = kind((7, 5, 3), 16, 2, 2, 10, conditions=(4,))
        codes = torch.stack([torch.randint(0, n, (2, 12)) for n in (7, 5, 3)], 1)
        model.bits(codes, torch.randint(0, 4, (2, 1, 12))).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name
