"""SEANet encoder and decoder: lengths, causality, sizes, gradients, and Mimi's variant against transformers."""

import pytest
import torch
from torch import nn
from transformers import MimiConfig
from transformers.models.mimi.modeling_mimi import MimiDecoder, MimiEncoder

from neuralcodecs import CodecError
from neuralcodecs.decoders import SEANetDecoder
from neuralcodecs.encoders import SEANetEncoder

HOP = 320
ENCODEC_48KHZ = {"causal": False, "norm": "time_group_norm"}
MIMI = {"ratios": (8, 6, 5, 4), "norm": "none", "pad_mode": "constant", "lstm_layers": 0, "true_skip": True}


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_parameter_counts() -> None:
    """EnCodec: 14.85 M at 24 kHz (7.43 + 7.43) and 14.86 M at 48 kHz."""
    assert (size(SEANetEncoder()), size(SEANetDecoder(128, 1, (HOP,)))) == (7_425_792, 7_426_018)
    stereo = SEANetEncoder(channels=2, **ENCODEC_48KHZ), SEANetDecoder(128, 2, (HOP,), **ENCODEC_48KHZ)
    assert sum(map(size, stereo)) == 14_856_294


@torch.no_grad()
def test_frames_of_every_length() -> None:
    encoder = SEANetEncoder(dim=4, filters=2, lstm_layers=0, dilations=())  # only what is padded with a stride
    for length in range(1, 2001):
        latents = encoder(torch.randn(1, 1, length))
        assert (latents.shape[-1],) == encoder.frames((length,)), length
        assert latents.isfinite().all(), length


@pytest.mark.parametrize(
    "settings",
    [{}, ENCODEC_48KHZ, {"pad_mode": "constant"}, {"pad_mode": "replicate", "causal": False}, {"dilations": (1, 3, 9)}],
    ids=str,
)
@torch.no_grad()
def test_any_length_and_ratios(settings: dict) -> None:
    for ratios in ((8, 5, 4, 2), (3, 2), (7,), (5, 1)):
        encoder = SEANetEncoder(2, 6, 4, ratios, **settings)
        decoder = SEANetDecoder(encoder.dim, encoder.channels, encoder.strides, 4, ratios, **settings)
        (hop,) = encoder.strides
        for length in (1, 2, hop - 1, hop, hop + 1, 2 * hop + 3, 1999):
            latents = encoder(torch.randn(2, 2, max(1, length)))
            assert latents.shape == (2, 6, *encoder.frames((max(1, length),)))
            assert decoder(latents).shape == (2, 2, latents.shape[-1] * hop)


@pytest.mark.parametrize("pad_mode", ["constant", "replicate"])
@torch.no_grad()
def test_causal_networks_ignore_the_future(pad_mode: str) -> None:
    encoder = SEANetEncoder(dim=8, filters=4, pad_mode=pad_mode)
    decoder = SEANetDecoder(8, 1, (HOP,), filters=4, pad_mode=pad_mode)
    signal = torch.randn(1, 1, 10 * HOP)
    later = signal.clone()
    later[..., 4 * HOP :] += 1
    latents, changed = encoder(signal), encoder(later)
    assert torch.equal(latents[..., :4], changed[..., :4])
    assert not torch.equal(latents[..., 4], changed[..., 4])
    output, changed = decoder(latents), decoder(changed)
    assert torch.equal(output[..., : 4 * HOP], changed[..., : 4 * HOP])
    assert not torch.equal(output[..., 4 * HOP : 5 * HOP], changed[..., 4 * HOP : 5 * HOP])


@torch.no_grad()
def test_reflection_looks_ahead_at_the_start_only() -> None:
    """EnCodec 24 kHz: frame 0 depends on samples beyond it; far from the start the network is causal."""
    encoder = SEANetEncoder(dim=8, filters=4)
    signal = torch.randn(1, 1, 40 * HOP)
    for frame, causal in ((0, False), (30, True)):
        later = signal.clone()
        later[..., (frame + 1) * HOP :] += 1
        same = torch.equal(encoder(signal)[..., : frame + 1], encoder(later)[..., : frame + 1])
        assert same == causal


@pytest.mark.parametrize("settings", [{}, ENCODEC_48KHZ, {"true_skip": True}], ids=str)
def test_every_parameter_learns(settings: dict) -> None:
    encoder = SEANetEncoder(dim=8, filters=4, **settings)
    decoder = SEANetDecoder(8, 1, (HOP,), filters=4, **settings)
    signal = torch.randn(2, 1, 5 * HOP)
    (decoder(encoder(signal)) - signal).square().mean().backward()
    for name, parameter in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@torch.no_grad()
def test_mimi_variant_equals_transformers() -> None:
    config = MimiConfig(num_filters=8, hidden_size=32)
    published = MimiEncoder(config), MimiDecoder(config)
    encoder = SEANetEncoder(1, 32, 8, last_kernel=3, **MIMI)
    decoder = SEANetDecoder(32, 1, encoder.strides, 8, last_kernel=3, **MIMI)
    encoder.load_state_dict(published[0].state_dict())
    decoder.load_state_dict(published[1].state_dict())
    for length in (1, 959, 960, 5000):
        signal = torch.randn(1, 1, length)
        latents = encoder(signal)
        assert torch.equal(latents, published[0](signal))
        assert torch.equal(decoder(latents), published[1](latents))


def test_config_describes_the_parts() -> None:
    encoder = SEANetEncoder(2, 16, 4, (3, 2), causal=False)
    again = SEANetEncoder(**encoder.describe()["init_args"] | {"ratios": (3, 2), "dilations": (1,)})
    assert [p.shape for p in again.parameters()] == [p.shape for p in encoder.parameters()]


def test_ratios_must_multiply_to_the_stride() -> None:
    with pytest.raises(CodecError, match=r"multiply to 160, the encoder's strides are \(320,\)"):
        SEANetDecoder(128, 1, (HOP,), ratios=(8, 5, 4))
    with pytest.raises(CodecError, match=r"ratios \(\)"):
        SEANetEncoder(ratios=())
