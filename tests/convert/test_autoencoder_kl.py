"""Stable Diffusion's kind of autoencoder on random weights gives what the diffusers library's does; and as a space.

The library is looked for as installed; ``pip install --no-deps --target FOLDER diffusers`` and FOLDER in PYTHONPATH do
too. Without it, the layout is that of a file which ours writes.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from generative import SMALL, flow_picture_codec
from image_networks import picture
from safetensors.torch import load_file, save_file

from neuralcodecs import Codec, CodecError
from neuralcodecs.cli import main
from neuralcodecs.convert import from_autoencoder_kl
from neuralcodecs.decoders import CodecSpace, FlowDecoder, KLDecoder
from neuralcodecs.encoders import KLEncoder
from neuralcodecs.image import Image
from neuralcodecs.pretrained import load
from neuralcodecs.quantizers.rounded import Rounded
from neuralcodecs.training import CodecTask, Denoise, Optimization, Stage

WIDTHS = (32, 32, 32)
LAYOUT = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": list(WIDTHS),
    "down_block_types": ["DownEncoderBlock2D"] * len(WIDTHS),
    "up_block_types": ["UpDecoderBlock2D"] * len(WIDTHS),
    "layers_per_block": 1,
    "norm_num_groups": 8,
}


def published(folder: Path, **settings: Any) -> Any:
    diffusers = pytest.importorskip("diffusers", reason="the diffusers package is not installed")
    torch.manual_seed(0)
    arguments = {name: value for name, value in LAYOUT.items() if not name.startswith("_")} | settings
    model = diffusers.AutoencoderKL(**arguments).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # fresh norms would hide a wrong name
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


@torch.no_grad()
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"block_out_channels": (128, 256), "norm_num_groups": 32, "layers_per_block": 2, "latent_channels": 8}
        | {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2},
        {"use_quant_conv": False, "use_post_quant_conv": False},
    ],
)
def test_latents_and_pictures_equal_the_published_ones(settings: dict[str, Any], tmp_path: Path) -> None:
    model, codec = published(tmp_path, **settings), from_autoencoder_kl(tmp_path)
    signal = picture(24, 40)
    theirs = model.encode(signal).latent_dist.mean
    ours = codec.encoder(signal)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(codec.decoder(ours), model.decode(theirs).sample, rtol=1e-4, atol=1e-5)


def test_old_names_of_the_attention_are_known(tmp_path: Path) -> None:
    published(tmp_path)
    whole = from_autoencoder_kl(tmp_path).state_dict()
    path, old = tmp_path / "diffusion_pytorch_model.safetensors", {}
    for name, value in load_file(path).items():
        for new, before in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            name = name.replace(f".{new}.", f".{before}.")
        old[name] = value
    save_file(old, path)
    again = from_autoencoder_kl(tmp_path).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def kl_codec(seed: int = 0) -> Codec:
    torch.manual_seed(seed)
    quantizer = partial(Rounded, low=-32.0, high=32.0)
    return Codec(Image(), KLEncoder(widths=WIDTHS, blocks=1), quantizer, partial(KLDecoder, widths=WIDTHS, blocks=2))


def test_an_imported_model_is_a_frozen_space_of_a_generative_decoder(tmp_path: Path) -> None:
    published(tmp_path / "vae")
    assert main(["import", str(tmp_path / "vae"), str(tmp_path / "model")]) == 0
    imported = load(tmp_path / "model")
    space = partial(CodecSpace, codec=kl_codec(1), scale=0.18215)
    codec = flow_picture_codec(partial(FlowDecoder, **SMALL, space=space))
    stage = Stage(modules={"decoder.space.codec": str(tmp_path / "model")})
    task = CodecTask(codec, Denoise(), Optimization(partial(torch.optim.Adam, lr=1e-3)), stage=stage)
    inside = codec.decoder.space.codec
    assert all(torch.equal(value, inside.state_dict()[name]) for name, value in imported.state_dict().items())
    assert not any(parameter.requires_grad for parameter in inside.parameters())
    assert not inside.training and not task.train().codec.decoder.space.codec.training
    signal = picture(20, 28)
    assert codec.decoder.space.size((20, 28)) == (5, 7)
    torch.testing.assert_close(codec.decoder.space.encode(signal), 0.18215 * imported.encoder(signal))
    assert codec.eval().decode(codec.encode(signal)).shape == signal.shape


def test_the_codec_round_trips_any_size_and_learns() -> None:
    codec, signal = kl_codec(), picture(21, 30)
    decoded, quantized = codec.train()(signal)
    assert decoded.shape == signal.shape and quantized.latents.shape == (1, 4, 6, 8)
    decoded.square().mean().backward()
    assert [n for n, p in codec.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert codec.eval().decode(codec.encode(signal)).shape == signal.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"act_fn": "relu"}, "cannot convert a model with act_fn relu: only silu"),
        ({"norm_num_groups": 32}, "norm_num_groups at 32 channels 32: only 8"),
        ({"block_out_channels": [10**9]}, "a list of channels is needed"),
        ({"latent_channels": 0}, "latent_channels 0: 1 to 256 can be converted"),
        ({"down_block_types": ["AttnDownEncoderBlock2D"]}, "cannot convert a model with down_block_types"),
        ({"layers_per_block": 2}, "these weights are not those of a KLEncoder"),
        ({}, "these weights are not those of a KLEncoder"),
    ],
)
def test_what_is_none_is_refused_in_a_line(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LAYOUT | change))
    save_file({"encoder.conv_in.bias": torch.zeros(32)}, tmp_path / "diffusion_pytorch_model.safetensors")
    with pytest.raises(CodecError, match=message) as caught:
        from_autoencoder_kl(tmp_path)
    assert "\n" not in str(caught.value)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LAYOUT))
    torch.save({}, tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(CodecError, match="pickled weights are not read"):
        from_autoencoder_kl(tmp_path)
