"""Converted Mimi models give the published codes, all of them at every level, and the published waveform.

Weights are random (nothing is downloaded). Layers of the transformers start with a weight of a half instead of 0.01,
and see 12 frames of the 50 or more that a signal has, so that an error in them would be seen.
"""

import re
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT
from published_audio import TOLERANCE, assert_many_codes_used, music, speech
from torch import Tensor
from transformers import MimiConfig, MimiModel

from neuralcodecs import Codec, CodecError
from neuralcodecs.cli import main
from neuralcodecs.convert import from_transformers
from neuralcodecs.convert.mimi import _rename
from neuralcodecs.pretrained import build

SMALL = {
    "num_filters": 4,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "intermediate_size": 64,
    "sliding_window": 12,
    "upsample_groups": 32,
    "codebook_size": 256,
    "codebook_dim": 16,
    "vector_quantization_hidden_dimension": 16,
    "num_quantizers": 9,
    "layer_scale_initial_scale": 0.5,
}
SETTINGS = {
    "published": {},
    "other_residual_units": {"num_residual_layers": 2, "use_conv_shortcut": True, "last_kernel_size": 5},
    "two_semantic": {"num_semantic_quantizers": 2, "pad_mode": "replicate", "upsampling_ratios": [6, 5, 4]},
}


def speech_or_music(length: int, rate: int = 24000) -> Tensor:
    """Four signals: with 12.5 frames per second, two of a second each are few vectors."""
    start = rate // 2
    return torch.cat([speech(length), music(length + start, rate, 1)[..., start:], music(length, rate, 1)])


@torch.no_grad()
def spread(model: MimiModel, signal: Tensor) -> MimiModel:
    """Latents of variance 1, codebooks around the residuals that reach them, and an output like sound."""
    downsample = model.encoder.downsample.conv
    latents = model.encoder(signal).latents
    downsample.weight.div_(latents.std(dim=(0, 2)).view(-1, 1, 1))
    latents = model.encoder(signal).latents
    halves = model.quantizer.semantic_residual_vector_quantizer, model.quantizer.acoustic_residual_vector_quantizer
    for half in halves:
        residual = half.input_proj(latents)
        for layer in half.layers:
            rows = residual.movedim(1, -1).flatten(0, 1)
            codes = rows.mean(0) + 0.7 * rows.std(0) * torch.randn_like(layer.codebook.embed_sum)
            layer.codebook.cluster_usage.uniform_(0.5, 20)
            layer.codebook.embed_sum.copy_(codes * layer.codebook.cluster_usage[:, None])
            residual = residual - layer.decode(layer.encode(residual))
    last = model.decoder.decoder_seanet.layers[-1].conv
    output = model.decoder(model.quantizer.decode(model.encode(signal).audio_codes)).audio_values
    last.weight.mul_(0.2 / output.std())
    last.bias.zero_()
    return model


def small_model(**settings: object) -> MimiModel:
    return spread(MimiModel(MimiConfig(**SMALL | settings)).eval(), speech_or_music(26880))


@torch.no_grad()
def assert_equal(codec: Codec, model: MimiModel, signal: Tensor, levels: int) -> Tensor:
    expected = model.encode(signal, num_quantizers=levels).audio_codes
    waveform = model.decode(expected).audio_values[..., : signal.shape[-1]]
    codes = codec.encode(signal, levels)
    assert codes["codes"].shape[2:] == codec.grid(tuple(signal.shape[2:]))
    assert torch.equal(codes["codes"], expected)
    output = codec.decode(codes)
    assert output.shape == signal.shape
    assert (output - waveform).abs().max() <= TOLERANCE
    if signal.shape[-1] > 20000:
        assert waveform.abs().max() > 1000 * TOLERANCE, "too quiet to tell anything"
        assert_many_codes_used(codes)
    return expected


@pytest.mark.parametrize("settings", SETTINGS)
def test_transformers_at_every_level_and_length(settings: str) -> None:
    """Also lengths that are no multiple of the frame: the library completes them layer by layer, as ours does."""
    model = small_model(**SETTINGS[settings])
    codec = from_transformers(model)
    semantic = model.config.num_semantic_quantizers
    for levels in range(semantic, 10):
        assert_equal(codec, model, speech_or_music(26880), levels)
    for length in (26879, 20001, 1919, 961, 1):
        assert_equal(codec, model, speech_or_music(length), 9)
    with pytest.raises(CodecError, match="10 levels"):
        codec.encode(speech(1920), 10)


def test_a_wrong_window_would_be_seen() -> None:
    """What shows that the parity above covers the attention's mask and its positions."""
    model = small_model()
    settings = model.config.to_dict() | {"sliding_window": 13}
    wider = MimiModel(MimiConfig(**settings)).eval()
    wider.load_state_dict(model.state_dict())
    codec = from_transformers(wider)
    codes = codec.encode(speech_or_music(26880), 9)["codes"]
    assert not torch.equal(codes, model.encode(speech_or_music(26880)).audio_codes)


def test_eight_codebooks_are_the_default_of_more() -> None:
    codec = from_transformers(small_model())
    assert codec.quantizer.levels == (8,)
    assert codec.encode(speech(1920))["codes"].shape == (2, 8, 1)


def test_config_is_the_published_model() -> None:
    """79.3 M parameters (encoder 12.6, decoder 14.7, transformers 2 x 25.2) and 16.8 M of codebooks."""
    with torch.device("meta"):
        published = from_transformers(MimiModel(MimiConfig()))
        settings = yaml.safe_load((ROOT / "configs" / "audio" / "mimi_24khz.yaml").read_text())
        ours = build(settings["model"]["init_args"]["codec"], "mimi_24khz")
    shapes = [{name: value.shape for name, value in codec.state_dict().items()} for codec in (ours, published)]
    assert shapes[0] == shapes[1]
    assert ours.encoder.strides == published.encoder.strides == (1920,)
    assert sum(parameter.numel() for parameter in ours.parameters()) == 79_308_609
    books = [value.numel() for name, value in ours.state_dict().items() if name.endswith(".codebooks")]
    assert sum(books) == 32 * 2048 * 256
    assert len(ours.quantizer.codebook_sizes) == 32


def test_weights_of_versions_whose_halves_are_no_models_have_the_same_places() -> None:
    with torch.device("meta"):
        weights = MimiModel(MimiConfig()).state_dict()
    flat = {re.sub(r"^..coder\.(?=..coder_|downsample|upsample)", "", name) for name in weights}
    older = {re.sub(r"^(..coder)_seanet\.", r"\1.", name): torch.empty(0) for name in flat}
    assert "downsample.conv.weight" in older and "decoder.layers.0.conv.bias" in older
    assert _rename(older).keys() == _rename(weights).keys()


def test_import_from_a_folder_saves_an_equal_codec(tmp_path: Path) -> None:
    model = small_model()
    model.save_pretrained(tmp_path / "theirs")
    assert main(["import", str(tmp_path / "theirs"), str(tmp_path / "ours")]) == 0
    assert_equal(Codec.from_pretrained(tmp_path / "ours"), model, speech_or_music(26880), 8)


def test_errors_name_what_cannot_be_converted() -> None:
    for setting, message in (
        ({"trim_right_ratio": 0.5}, r"trim_right_ratio 0\.5"),
        ({"use_causal_conv": False}, "use_causal_conv False"),
        ({"num_key_value_heads": 2}, r"DownsampledEncoder: size mismatch for encoder\.transformer"),
        ({"encoder_config": None}, "encoder_config None"),
        ({"frame_rate": 25.0}, "every frame of its SEANet"),
        ({"vector_quantization_hidden_dimension": 32, "codebook_dim": 32}, "as wide as its latents"),
    ):
        with pytest.raises(CodecError, match=message):
            from_transformers(MimiModel(MimiConfig(**SMALL | setting)))


@pytest.mark.slow
def test_full_size() -> None:
    """12.9 s: more frames than the 250 that a layer sees."""
    loop = music(130_000, 24000, 1)
    signal = torch.cat([loop, loop.flip(-1), -loop], dim=-1)[..., :308_000]
    model = spread(MimiModel(MimiConfig(layer_scale_initial_scale=0.5)).eval(), signal)
    codec = from_transformers(model)
    for levels in (1, 8, 32):
        assert_equal(codec, model, signal, levels)
