"""Fresh networks let the signal through: without that nothing is learned in a short run."""

from functools import partial

import pytest
import soundfile
import torch
from conftest import SAMPLES
from torch import nn

from neuralcodecs.decoders import SEANetDecoder
from neuralcodecs.encoders import SEANetEncoder
from neuralcodecs.layers import Conv, ResidualUnit, identity, keep_variance


@pytest.mark.parametrize("gain", [1.0, 0.3])
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv1d(32, 64, 7),
        nn.Conv1d(32, 32, 9, groups=4),
        nn.Conv2d(16, 32, 3, stride=2),
        nn.ConvTranspose1d(64, 32, 16, 8),
    ],
    ids=repr,
)
def test_variance_is_kept(conv: nn.Conv1d, gain: float) -> None:
    torch.manual_seed(0)
    axes = conv.weight.ndim - 2
    noise = torch.randn(4, conv.in_channels, *(200,) * axes)
    output = keep_variance(conv, gain)(noise)
    assert output.std().item() == pytest.approx(gain, rel=0.1)
    assert not conv.bias.any()


def test_a_fresh_unit_is_near_the_identity() -> None:
    torch.manual_seed(0)
    noise = torch.randn(2, 16, 50)
    assert torch.equal(identity(nn.Conv1d(16, 16, 1))(noise), noise)
    unit = ResidualUnit(16, partial(Conv, causal=True))
    assert 0 < (unit(noise) - noise).std() < 0.5


@pytest.mark.parametrize("norm", ["weight_norm", "none"])
def test_speech_reaches_the_latents_and_comes_out_no_louder(norm: str) -> None:
    torch.manual_seed(0)
    path = min((SAMPLES / "speech" / "test").glob("*.flac"))
    speech = torch.from_numpy(soundfile.read(path, dtype="float32", frames=48_000)[0])[None, None]
    encoder = SEANetEncoder(norm=norm, lstm_layers=0)
    latents = encoder(speech)
    # torch's own initialisation: .003 of the mean's magnitude, where the variation should be the larger part
    assert latents.std(dim=-1).mean() > latents.mean(dim=-1).abs().mean()
    output = SEANetDecoder(128, 1, encoder.strides, norm=norm, lstm_layers=0)(latents)
    assert 0.02 < output.std() / speech.std() < 2
