"""Converted EnCodec models give the published codes, all of them, and the published waveform.

Weights are random (nothing is downloaded); codebooks are drawn from the model's own residuals, so that many are used.
"""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from encodec import EncodecModel as EncodecPackageModel
from published_audio import TOLERANCE, assert_many_codes_used, music, speech
from torch import Tensor, nn
from transformers import EncodecConfig, EncodecModel

from neuralcodecs import Codec, CodecError, Codes
from neuralcodecs.convert import from_encodec, from_transformers

BANDWIDTHS_24KHZ = {1.5: 2, 3.0: 4, 6.0: 8, 12.0: 16, 24.0: 32}
BANDWIDTHS_48KHZ = {3.0: 2, 6.0: 4, 12.0: 8, 24.0: 16}
CONFIG_48KHZ = {
    "sampling_rate": 48000,
    "audio_channels": 2,
    "normalize": True,
    "chunk_length_s": 1.0,
    "overlap": 0.01,
    "norm_type": "time_group_norm",
    "use_causal_conv": False,
    "target_bandwidths": [3.0, 6.0, 12.0, 24.0],
}

Published = tuple[Tensor, Tensor | None, Tensor]
"""Codes ``(b, q, n)``, scales ``(b, chunks)`` and waveform."""


@torch.no_grad()
def standardise(last: nn.Module, latents: Tensor) -> None:
    """Make the encoder's last layer give latents of mean 0 and variance 1, as far from rounding as trained ones.

    A random network's latents are one large vector plus little else, and every code a tie.
    """
    parameters = dict(last.named_parameters())
    (gain,) = (p for name, p in parameters.items() if name.endswith(("original0", "weight_g", "norm.weight")))
    bias = [p for name, p in parameters.items() if name.endswith("bias")][-1]
    mean, deviation = latents.mean(dim=(0, 2)), latents.std(dim=(0, 2))
    gain.div_(deviation.view_as(gain))
    bias.sub_(mean).div_(deviation)


@torch.no_grad()
def fill_codebooks(latents: Tensor, layers: nn.ModuleList, codebooks: list[Tensor]) -> None:
    """Give each level normal vectors, in proportion to the residuals that reach it.

    So no choice is a tie: in these tests the best two codes of every vector x differ in squared distance by 4e-7 |x|^2
    or more, while fp32 can be wrong by 2.4e-7 |x|^2 in the published order of operations.
    """
    residual = latents
    for layer, codebook in zip(layers, codebooks, strict=True):
        codebook.copy_(0.4 * residual.std() * torch.randn_like(codebook))
        residual = residual - layer.decode(layer.encode(residual))


@torch.no_grad()
def transformers_model(config: EncodecConfig, signal: Tensor) -> EncodecModel:
    model = EncodecModel(config).eval()
    signal = signal / signal.std() if config.normalize else signal
    standardise(model.encoder.layers[-1], model.encoder(signal))
    layers = model.quantizer.layers
    fill_codebooks(model.encoder(signal), layers, [layer.codebook.embed for layer in layers])
    return model


@torch.no_grad()
def encodec_model(make: Callable[..., EncodecPackageModel], signal: Tensor) -> EncodecPackageModel:
    model = make(pretrained=False)
    signal = signal / signal.std() if model.normalize else signal
    standardise(model.encoder.model[-1], model.encoder(signal))
    layers = model.quantizer.vq.layers
    fill_codebooks(model.encoder(signal), layers, [layer.codebook for layer in layers])
    return model


def one_by_one(run: Callable[..., Published]) -> Callable[..., Published]:
    """Items one at a time, as our codecs run them on the CPU: the rounding of a batch decides some ties otherwise."""

    def wrapped(model: nn.Module, signal: Tensor, bandwidth: float) -> Published:
        codes, scales, output = zip(*(run(model, item, bandwidth) for item in signal.split(1)), strict=True)
        return torch.cat(codes), None if scales[0] is None else torch.cat(scales), torch.cat(output)

    return wrapped


@one_by_one
@torch.no_grad()
def run_transformers(model: EncodecModel, signal: Tensor, bandwidth: float) -> Published:
    encoded = model.encode(signal, bandwidth=bandwidth)
    chunks = list(encoded.audio_codes)
    if encoded.last_frame_pad_length:
        chunks[-1] = chunks[-1][..., : -encoded.last_frame_pad_length]
    output = model.decode(
        encoded.audio_codes, encoded.audio_scales, last_frame_pad_length=encoded.last_frame_pad_length
    ).audio_values
    scales = torch.cat(encoded.audio_scales, 1) if model.config.normalize else None
    return torch.cat(chunks, -1), scales, output[..., : signal.shape[-1]]


@one_by_one
@torch.no_grad()
def run_encodec(model: EncodecPackageModel, signal: Tensor, bandwidth: float) -> Published:
    model.set_target_bandwidth(bandwidth)
    encoded = model.encode(signal)
    output = model.decode(encoded)[..., : signal.shape[-1]]
    scales = torch.cat([scale for _, scale in encoded], 1) if model.normalize else None
    return torch.cat([codes for codes, _ in encoded], -1), scales, output


def assert_equal(codec: Codec, signal: Tensor, levels: int, published: Published) -> Codes:
    expected, scales, waveform = published
    codes = codec.encode(signal, levels)
    assert codes["codes"].shape == expected.shape == (len(signal), levels, *codec.grid(tuple(signal.shape[2:])))
    assert torch.equal(codes["codes"], expected)
    if scales is not None:
        pattern = scales.contiguous().view(torch.int32).long() & 0xFFFFFFFF
        assert torch.equal(codes["scale"][:, 0], pattern)
    output = codec.decode(codes)
    assert output.shape == signal.shape
    assert (output - waveform).abs().max() <= TOLERANCE
    if signal.shape[-1] > 1000:
        assert waveform.abs().max() > 100 * TOLERANCE, "too quiet to tell anything"
    return codes


def test_transformers_24khz() -> None:
    """Lengths that are and are not multiples of the hop; two items at once."""
    model = transformers_model(EncodecConfig(), speech(24000))
    codec = from_transformers(model)
    for bandwidth, levels in BANDWIDTHS_24KHZ.items():
        codes = assert_equal(codec, speech(24000), levels, run_transformers(model, speech(24000), bandwidth))
    assert_many_codes_used(codes)
    for length in (10001, 319, 1):
        assert_equal(codec, speech(length), 32, run_transformers(model, speech(length), 24.0))
    assert codec.quantizer.levels == tuple(BANDWIDTHS_24KHZ.values())


def test_transformers_48khz() -> None:
    """Several chunks; transformers needs every chunk but the last to have as many frames as the first."""
    model = transformers_model(EncodecConfig(**CONFIG_48KHZ), music(48000))
    codec = from_transformers(model)
    for bandwidth, levels in BANDWIDTHS_48KHZ.items():
        codes = assert_equal(codec, music(58001), levels, run_transformers(model, music(58001), bandwidth))
    assert_many_codes_used(codes)
    for length in (48000, 10001):
        assert_equal(codec, music(length), 4, run_transformers(model, music(length), 6.0))
    assert codec.quantizer.levels == tuple(BANDWIDTHS_48KHZ.values())


def test_encodec_24khz() -> None:
    model = encodec_model(EncodecPackageModel.encodec_model_24khz, speech(24000))
    codec = from_encodec(model)
    for bandwidth, levels in BANDWIDTHS_24KHZ.items():
        codes = assert_equal(codec, speech(16011), levels, run_encodec(model, speech(16011), bandwidth))
    assert_many_codes_used(codes)
    assert codec.quantizer.levels == tuple(BANDWIDTHS_24KHZ.values())


def test_encodec_48khz() -> None:
    """95100: the second chunk has a frame less than the first, and the third is 60 samples."""
    model = encodec_model(EncodecPackageModel.encodec_model_48khz, music(48000))
    codec = from_encodec(model)
    for bandwidth, levels in BANDWIDTHS_48KHZ.items():
        assert_equal(codec, music(10001), levels, run_encodec(model, music(10001), bandwidth))
    for length in (95100, 47521, 1):
        assert_equal(codec, music(length), 16, run_encodec(model, music(length), 24.0))
    assert codec.quantizer.levels == tuple(BANDWIDTHS_48KHZ.values())


def test_other_shapes_of_network() -> None:
    """AudioCraft's settings, three residual units, another width: read from the config, not assumed."""
    config = EncodecConfig(
        num_filters=4, hidden_size=16, upsampling_ratios=[5, 3], num_residual_layers=3, use_conv_shortcut=False,
        pad_mode="constant", num_lstm_layers=1, last_kernel_size=5, codebook_size=256, target_bandwidths=[64.0],
        sampling_rate=16000,
    )  # fmt: skip
    model = transformers_model(config, speech(9000))
    codec = from_transformers(model)
    (levels,) = codec.quantizer.levels
    assert (levels, codec.quantizer.codebook_sizes[0]) == (model.config.num_quantizers, 256)
    codes, _, waveform = run_transformers(model, speech(9001), 64.0)
    assert torch.equal(codec.encode(speech(9001))["codes"], codes)
    torch.testing.assert_close(codec.decode(codec.encode(speech(9001))), waveform)


def test_codec_shares_no_memory_with_the_model() -> None:
    model = transformers_model(EncodecConfig(num_filters=4, hidden_size=16), speech(9000))
    codec = from_transformers(model)
    before = codec.decode(codec.encode(speech(9000)))
    with torch.no_grad():
        for value in model.state_dict().values():
            value.zero_()
    assert torch.equal(codec.decode(codec.encode(speech(9000))), before)


def test_errors_name_what_cannot_be_converted() -> None:
    unknown = nn.Module()
    unknown.config = SimpleNamespace(model_type="xcodec")
    with pytest.raises(CodecError, match="'xcodec': only dac, encodec, mimi"):
        from_transformers(unknown)
    with pytest.raises(CodecError, match=r"trim_right_ratio 0\.5"):
        from_transformers(EncodecModel(EncodecConfig(num_filters=4, trim_right_ratio=0.5)))
    with pytest.raises(CodecError, match=r"SEANetEncoder: size mismatch for layers\.0"):
        from_transformers(EncodecModel(EncodecConfig(num_filters=4, kernel_size=9)))
