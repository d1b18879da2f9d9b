"""DAC's encoder and decoder: lengths, padding, range and gradients."""

import pytest
import torch

from neuralcodecs import CodecError
from neuralcodecs.decoders import DACDecoder
from neuralcodecs.encoders import DACEncoder

NETWORKS = [(8, 8, 4, 2), (8, 5, 4, 2), (3, 5), (7,), (4, 1)]


@pytest.mark.parametrize("ratios", NETWORKS, ids=str)
@torch.no_grad()
def test_any_length(ratios: tuple[int, ...]) -> None:
    encoder = DACEncoder(2, 6, 4, ratios, (1, 3))
    decoder = DACDecoder(6, 2, encoder.strides, 32, ratios, (1, 3))
    (hop,) = encoder.strides
    for length in (1, 2, hop - 1, hop, hop + 1, 3 * hop + 2):
        latents = encoder(torch.randn(2, 2, length))
        assert latents.shape == (2, 6, *encoder.frames((length,)))
        signal = decoder(latents)
        assert signal.shape == (2, 2, latents.shape[-1] * hop)
        assert signal.abs().max() <= 1


@torch.no_grad()
def test_frames_of_every_length() -> None:
    encoder = DACEncoder(1, 2, 2, (8, 5, 4, 2), ())
    for length in range(1, 1300):
        assert (encoder(torch.randn(1, 1, length)).shape[-1],) == encoder.frames((length,)), length


@torch.no_grad()
def test_a_signal_is_completed_with_zeros_to_a_multiple_of_the_hop() -> None:
    encoder = DACEncoder(1, 8, 4)
    signal = torch.randn(1, 1, 1500)
    assert torch.equal(encoder(signal), encoder(torch.cat([signal, torch.zeros(1, 1, 36)], dim=-1)))
    assert not torch.equal(encoder(signal), encoder(torch.cat([signal, torch.ones(1, 1, 36)], dim=-1)))


@torch.no_grad()
def test_odd_ratios_end_early_and_the_end_is_held() -> None:
    """Ratios 8, 5, 4, 2: one sample after the second, times 4 and 2."""
    signal = DACDecoder(4, 1, (320,), 16, (8, 5, 4, 2), (1,))(torch.randn(1, 4, 6))
    assert (signal[..., -8:] == signal[..., -9:-8]).all()
    assert signal[..., -10] != signal[..., -9]


def test_every_parameter_learns() -> None:
    encoder = DACEncoder(1, 8, 4)
    decoder = DACDecoder(8, 1, encoder.strides, 32)
    signal = torch.randn(2, 1, 4 * 512)
    (decoder(encoder(signal)) - signal).square().mean().backward()
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_errors_name_the_value() -> None:
    with pytest.raises(CodecError, match=r"ratios \(8, 0\)"):
        DACEncoder(ratios=(8, 0))
    with pytest.raises(CodecError, match=r"multiply to 32, the encoder's strides are \(512,\)"):
        DACDecoder(8, 1, (512,), 32, (8, 4))
    with pytest.raises(CodecError, match="width 24 cannot be halved 4 times"):
        DACDecoder(8, 1, (512,), 24)
