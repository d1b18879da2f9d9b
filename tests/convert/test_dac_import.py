"""Converted DAC models give the published codes, all of them at every level, and the published waveform.

Weights are random (nothing is downloaded), but latents and codebooks are spread so that many codes are used.
"""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from conftest import ROOT
from published_audio import TOLERANCE, assert_many_codes_used, speech
from torch import Tensor, nn
from transformers import DacConfig, DacModel

from neuralcodecs import Codec, CodecError
from neuralcodecs.cli import main
from neuralcodecs.convert import from_descript, from_transformers
from neuralcodecs.pretrained import build

PACKAGES = "descript-audio-codec descript-audiotools argbind ffmpy flatten-dict importlib-resources julius randomname"
SMALL = {"encoder_hidden_size": 8, "decoder_hidden_size": 64, "n_codebooks": 6, "codebook_size": 256}
RATIOS = {"44khz": [2, 4, 8, 8], "24khz": [2, 4, 5, 8]}
PUBLISHED = {
    "44khz": {"sampling_rate": 44100},
    "24khz": {"sampling_rate": 24000, "downsampling_ratios": RATIOS["24khz"], "n_codebooks": 32},
    "16khz": {"sampling_rate": 16000, "downsampling_ratios": RATIOS["24khz"], "n_codebooks": 12},
}


@torch.no_grad()
def spread(model: nn.Module, last: nn.Parameter, bias: nn.Parameter, signal: Tensor, loud: nn.Parameter) -> None:
    """Latents of mean 0 and variance 1, levels that each take something away, and an audible output.

    ``last`` and ``bias`` are those of the encoder's last convolution, ``loud`` a factor of the decoder's last.
    """
    latents = model.encoder(signal)
    mean, deviation = latents.mean(dim=(0, 2)), latents.std(dim=(0, 2))
    last.div_(deviation.view(-1, 1, 1))
    bias.sub_(mean).div_(deviation)
    residual = model.encoder(signal)
    for level in model.quantizer.quantizers:
        inner = level.in_proj(residual)
        level.codebook.weight.copy_(inner.std() * torch.randn_like(level.codebook.weight))
        names = dict(level.out_proj.named_parameters())
        back = torch.linalg.pinv(level.in_proj.weight[..., 0])[..., None]
        if "weight_g" in names:
            names["weight_v"].copy_(back)
            names["weight_g"].copy_(back.norm(dim=1, keepdim=True))
        else:
            names["weight"].copy_(back)
        residual = residual - level(residual)[0]
    output = model.decoder(latents / deviation.view(1, -1, 1))
    loud.mul_(0.3 / output.std())


def small_model(ratios: list[int], signal: Tensor) -> DacModel:
    model = DacModel(DacConfig(**SMALL, downsampling_ratios=ratios)).eval()
    ends = model.encoder.conv2, model.decoder.conv2
    spread(model, ends[0].weight, ends[0].bias, signal, ends[1].weight)
    return model


@torch.no_grad()
def assert_equal(codec: Codec, model: DacModel, signal: Tensor, levels: int) -> None:
    """The published package completes a signal to a multiple of the hop; the library's model wants it complete."""
    length = signal.shape[-1]
    complete = F.pad(signal, (0, -length % model.config.hop_length))
    expected = model.encode(complete, n_quantizers=levels).audio_codes
    waveform = model.decode(audio_codes=expected).audio_values[:, None, :length]
    codes = codec.encode(signal, levels)
    assert torch.equal(codes["codes"], expected)
    output = codec.decode(codes)
    assert output.shape == signal.shape
    # with an odd ratio the published decoder ends early, and ours goes on as it ended
    assert (output[..., : waveform.shape[-1]] - waveform).abs().max() <= TOLERANCE
    assert torch.equal(output[..., waveform.shape[-1] :], output[..., waveform.shape[-1] - 1 :][..., :-1])
    if length > 10_000:
        assert waveform.abs().max() > 100 * TOLERANCE, "too quiet to tell anything"
        assert_many_codes_used(codes)


@pytest.mark.parametrize("kind", RATIOS)
def test_transformers_at_every_level_and_length(kind: str) -> None:
    model = small_model(RATIOS[kind], speech(16000, 16000))
    codec = from_transformers(model)
    assert codec.quantizer.levels == (1, 2, 3, 4, 5, 6)
    for levels in codec.quantizer.levels:
        assert_equal(codec, model, speech(16384, 16000), levels)
    (hop,) = codec.encoder.strides
    for length in (16383, 16001, 511, 1, 30 * hop, 30 * hop - 5):  # the last two reach the decoder's end
        assert_equal(codec, model, speech(length, 16000), 6)


def test_weight_norm_of_the_model_does_not_matter() -> None:
    model = small_model(RATIOS["44khz"], speech(16000, 16000))
    plain = from_transformers(model)
    model.apply_weight_norm()
    codec = from_transformers(model)
    assert_equal(codec, model, speech(16384, 16000), 6)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(codec.state_dict()[name], value)


@pytest.mark.parametrize("kind", RATIOS)
@torch.no_grad()
def test_descripts_package(kind: str) -> None:
    dac = pytest.importorskip("dac", reason=f"pip install --no-deps {PACKAGES}")
    ratios = RATIOS[kind]
    signal = speech(16000, 16000)
    model = dac.DAC(8, ratios, None, 64, ratios[::-1], n_codebooks=6, codebook_size=256, sample_rate=16000).eval()
    ends = model.encoder.block[-1], model.decoder.model[-2]
    spread(model, ends[0].weight_g, ends[0].bias, signal, ends[1].weight_g)
    codec = from_descript(model)
    assert (codec.medium.rate, codec.quantizer.levels) == (16000, (1, 2, 3, 4, 5, 6))
    for length, levels in ((16384, 1), (16384, 3), (16384, 6), (15001, 6), (1, 6)):
        published = model(speech(length, 16000), n_quantizers=levels)
        codes = codec.encode(speech(length, 16000), levels)
        assert torch.equal(codes["codes"], published["codes"])
        waveform = published["audio"]
        assert (codec.decode(codes)[..., : waveform.shape[-1]] - waveform).abs().max() <= TOLERANCE
    model.encoder_rates = [2, 2, 2]
    with pytest.raises(CodecError, match="encoder_rates"):
        from_descript(model)


@pytest.mark.parametrize(("kind", "millions"), [("44khz", 76.65), ("24khz", 74.7), ("16khz", 74.2)])
def test_config_is_the_published_model(kind: str, millions: float) -> None:
    """Parameters in millions as published; without the weight norm of the quantizer's projections, .03 at most."""
    with torch.device("meta"):
        published = from_transformers(DacModel(DacConfig(**PUBLISHED[kind])))
        settings = yaml.safe_load((ROOT / "configs" / "audio" / f"dac_{kind}.yaml").read_text())
        ours = build(settings["model"]["init_args"]["codec"], kind)
    shapes = [{name: value.shape for name, value in codec.state_dict().items()} for codec in (ours, published)]
    assert shapes[0] == shapes[1]
    assert (ours.medium.rate, ours.encoder.strides) == (published.medium.rate, published.encoder.strides)
    count = sum(parameter.numel() for parameter in ours.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.06)


def test_import_from_a_folder_saves_an_equal_codec(tmp_path: Path) -> None:
    model = small_model(RATIOS["24khz"], speech(16000, 16000))
    model.save_pretrained(tmp_path / "theirs")
    assert main(["import", str(tmp_path / "theirs"), str(tmp_path / "ours")]) == 0
    assert_equal(Codec.from_pretrained(tmp_path / "ours"), model, speech(12000, 16000), 4)


@pytest.mark.slow
def test_full_size() -> None:
    model = DacModel(DacConfig(sampling_rate=44100)).eval()
    spread(
        model, model.encoder.conv2.weight, model.encoder.conv2.bias, speech(40960, 44100), model.decoder.conv2.weight
    )
    codec = from_transformers(model)
    for levels in (1, 5, 9):
        assert_equal(codec, model, speech(40960, 44100), levels)
