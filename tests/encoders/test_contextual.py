"""Mimi's wrappers around an encoder and a decoder: transformer and a second rate."""

from functools import partial

import pytest
import torch

from neuralcodecs import CodecError
from neuralcodecs.decoders import ContextualDecoder, SEANetDecoder, UpsampledDecoder
from neuralcodecs.encoders import ContextualEncoder, DownsampledEncoder, SEANetEncoder

SEANET = {"filters": 4, "ratios": (4, 2), "pad_mode": "constant", "lstm_layers": 0}
CONTEXT = {"depth": 2, "heads": 2, "hidden": 16, "context": 3, "scale": 0.5}
HOP = 24


def encoder() -> DownsampledEncoder:
    return DownsampledEncoder(ContextualEncoder(SEANetEncoder(dim=8, **SEANET), **CONTEXT), stride=3)


def decoder() -> UpsampledDecoder:
    inner = partial(ContextualDecoder, decoder=partial(SEANetDecoder, **SEANET), **CONTEXT)
    return UpsampledDecoder(8, 1, (HOP,), inner, stride=3)


@torch.no_grad()
def test_frames_of_every_length() -> None:
    down, up = encoder(), decoder()
    assert (down.channels, down.dim, down.strides) == (1, 8, (HOP,))
    for length in range(1, 120):
        latents = down(torch.randn(1, 1, length))
        assert (latents.shape[-1],) == down.frames((length,)) == (-(-length // HOP),)
        assert up(latents).shape == (1, 1, latents.shape[-1] * HOP)


@torch.no_grad()
def test_nothing_sees_the_future() -> None:
    down, up = encoder(), decoder()
    signal = torch.randn(1, 1, 10 * HOP)
    later = signal.clone()
    later[..., 4 * HOP :] += 1
    latents, changed = down(signal), down(later)
    assert torch.equal(latents[..., :4], changed[..., :4])
    assert not torch.equal(latents[..., 4], changed[..., 4])
    output, changed = up(latents), up(changed)
    assert torch.equal(output[..., : 4 * HOP], changed[..., : 4 * HOP])
    assert not torch.equal(output[..., 4 * HOP : 5 * HOP], changed[..., 4 * HOP : 5 * HOP])


@torch.no_grad()
def test_the_first_latent_repeats_to_the_left() -> None:
    """A constant latent stays as it is at the start of a signal, as far from the start."""
    inner = SEANetEncoder(dim=8, norm="none", **SEANET)
    for parameter in inner.layers[-1].parameters():
        parameter.zero_()
    inner.layers[-1].conv.bias.fill_(1)
    latents = DownsampledEncoder(inner, 2)(torch.randn(1, 1, 10 * HOP))
    torch.testing.assert_close(latents, latents[..., -1:].expand_as(latents))


def test_every_parameter_learns() -> None:
    down, up = encoder(), decoder()
    signal = torch.randn(2, 1, 5 * HOP)
    (up(down(signal)) - signal).square().mean().backward()
    for name, parameter in [*down.named_parameters(), *up.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_strides_must_fit() -> None:
    with pytest.raises(CodecError, match="stride 5 does not divide the encoder's, 24"):
        UpsampledDecoder(8, 1, (HOP,), partial(SEANetDecoder, **SEANET), stride=5)
    with pytest.raises(CodecError, match="stride 0"):
        DownsampledEncoder(SEANetEncoder(dim=8, **SEANET), 0)
