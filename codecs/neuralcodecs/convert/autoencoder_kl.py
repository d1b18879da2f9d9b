"""KL autoencoders of latent diffusion, Stable Diffusion's among them, from the layout of the diffusers library.

A codec of their own (latents rounded), and the latent space of a generative decoder:
``CodecSpace(codec=..., scale=scaling_factor, mean=shift_factor)``; for Stable Diffusion 1 and 2 the scale is 0.18215.
"""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralcodecs.codec import Codec
from neuralcodecs.convert.weights import load_network, require
from neuralcodecs.decoders.kl import KLDecoder
from neuralcodecs.encoders.kl import KLEncoder
from neuralcodecs.errors import CodecError
from neuralcodecs.image.medium import Image
from neuralcodecs.layers import group_norm
from neuralcodecs.quantizers.rounded import Rounded
from neuralcodecs.trusted import check_finite, load_tensors

WEIGHTS = "diffusion_pytorch_model.safetensors"
REACH = 32.0
"""Largest latent of the codec on its own; Stable Diffusion's have a standard deviation of 5.5."""

_NAMES = (
    (r"\.conv_in\.", ".first."),
    (r"\.conv_out\.", ".last."),
    (r"\.conv_norm_out\.", ".norm.norm."),
    (r"\.(down|up)_blocks\.(\d+)\.resnets\.(\d+)\.", r".levels.\2.\3."),
    (r"\.down_blocks\.(\d+)\.downsamplers\.0\.conv\.", r".downs.\1."),
    (r"\.up_blocks\.(\d+)\.upsamplers\.0\.conv\.", r".ups.\1."),
    (r"\.mid_block\.resnets\.0\.", ".middle.0."),
    (r"\.mid_block\.resnets\.1\.", ".middle.2."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.(norm[12])\.", r".\1.norm."),
    (r"\.conv_shortcut\.", ".shortcut."),
    (r"\.group_norm\.", ".norm.norm."),
    (r"\.(to_out\.0|proj_attn)\.", ".project_out."),
    (r"\.(to_q|query)\.", ".query."),
    (r"\.(to_k|key)\.", ".key."),
    (r"\.(to_v|value)\.", ".value."),
    (r"^quant_conv\.", "encoder.mean."),
    (r"^post_quant_conv\.", "decoder.spread."),
)
"""Those of the library, old and new, by our names; query, key and value are joined afterwards."""


def from_autoencoder_kl(folder: Path) -> Codec:
    """The ``AutoencoderKL`` in a folder (``config.json`` and its safetensors) as a codec, in evaluation mode.

    Raises:
        CodecError: files are missing or damaged, or the network is another than those that have been published.
    """
    config = _config(folder / "config.json")
    if not (folder / WEIGHTS).is_file():
        raise CodecError(f"no {WEIGHTS} in {folder}: get the model's safetensors, pickled weights are not read")
    weights = load_tensors(folder / WEIGHTS)
    check_finite(weights, str(folder / WEIGHTS))
    widths, blocks, dim = tuple(config["block_out_channels"]), config["layers_per_block"], config["latent_channels"]
    encoder = KLEncoder(config["in_channels"], dim, widths, blocks)
    decoder = partial(KLDecoder, widths=widths, blocks=blocks + 1)
    codec = Codec(Image(config["in_channels"]), encoder, partial(Rounded, low=-REACH, high=REACH), decoder)
    load_network(codec, _renamed(weights, dim))
    return codec.eval()


def _config(path: Path) -> dict[str, Any]:
    """What the file says, over the library's defaults."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CodecError(f"{path} is no config that can be read: {str(error).splitlines()[0]}") from error
    if not isinstance(said, dict):
        raise CodecError(f"{path} is no config of a model: an object with block_out_channels is needed")
    sizes = {"in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 32}
    known: dict[str, Any] = {**sizes, "act_fn": "silu", "mid_block_add_attention": True, **said}
    require("_class_name", known.get("_class_name"), "AutoencoderKL")
    for name, needed in (("act_fn", "silu"), ("mid_block_add_attention", True)):
        require(name, known[name], needed)
    require("out_channels", known["out_channels"], known["in_channels"])
    for name, kind in (("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")):
        require(name, sorted(set(known.get(name, [kind]))), [kind])
    widths = known.get("block_out_channels")
    if not isinstance(widths, list) or not widths or not all(type(n) is int and 1 <= n <= 4096 for n in widths):
        raise CodecError(f"{path} has block_out_channels {widths!r}: a list of channels is needed")
    for name, most in (("latent_channels", 256), ("layers_per_block", 16)):
        if type(known[name]) is not int or not 1 <= known[name] <= most:
            raise CodecError(f"{path} has {name} {known[name]!r}: 1 to {most} can be converted")
    for width in widths:
        require(f"norm_num_groups at {width} channels", known["norm_num_groups"], group_norm(width).num_groups)
    return known


def _renamed(weights: dict[str, Tensor], dim: int) -> dict[str, Tensor]:
    """By our names, of the latents' distribution the mean alone."""
    ours: dict[str, Tensor] = {
        "encoder.mean.weight": torch.eye(2 * dim)[..., None, None],
        "encoder.mean.bias": torch.zeros(2 * dim),
        "decoder.spread.weight": torch.eye(dim)[..., None, None],
        "decoder.spread.bias": torch.zeros(dim),
    }  # of models without these layers
    for name, value in weights.items():
        for pattern, new in _NAMES:
            name = re.sub(pattern, new, name)
        ours[name] = value
    for kind in ("weight", "bias"):
        ours[f"encoder.mean.{kind}"] = ours[f"encoder.mean.{kind}"][:dim]
        for side in ("encoder", "decoder"):
            parts = [ours.pop(f"{side}.middle.1.{part}.{kind}", None) for part in ("query", "key", "value")]
            present = [part for part in parts if part is not None]
            if len(present) == 3 and len({part.shape for part in present}) == 1 and present[0].ndim:
                ours[f"{side}.middle.1.project_in.{kind}"] = torch.cat(present)
        if kind == "weight":  # linear layers of the library, convolutions of kernel 1 of ours
            for name in [n for n in ours if ".middle.1.project" in n and n.endswith(kind)]:
                ours[name] = ours[name].reshape(*ours[name].shape[:2], 1, 1)
    return ours
