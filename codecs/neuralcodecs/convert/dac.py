"""DAC's published models, from the transformers library and from Descript's own (https://arxiv.org/abs/2306.06546)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from neuralcodecs.audio.medium import Audio
from neuralcodecs.codec import Codec
from neuralcodecs.convert.weights import load, load_network, require
from neuralcodecs.decoders import DACDecoder
from neuralcodecs.encoders import DACEncoder
from neuralcodecs.quantizers.projected import Projected
from neuralcodecs.quantizers.stacked import ResidualStack
from neuralcodecs.quantizers.vq import CosineVQ

GAIN, DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"

# modules of a residual unit, an encoder stage and a decoder stage: transformers' names and ours
UNIT = {"snake1": "block.0", "conv1": "block.1.conv", "snake2": "block.2", "conv2": "block.3.conv"}
DOWN = {"snake1": "3", "conv1": "4.conv"} | {
    f"res_unit{i + 1}.{theirs}": f"{i}.{ours}" for i in range(3) for theirs, ours in UNIT.items()
}
UP = {"snake1": "0", "conv_t1": "1.conv.conv"} | {
    f"res_unit{i + 1}.{theirs}": f"{i + 2}.{ours}" for i in range(3) for theirs, ours in UNIT.items()
}


def from_transformers(model: nn.Module) -> Codec:
    """A ``DacModel`` of the transformers library as a codec, with its weights split into gain and direction again.

    Raises:
        CodecError: the weights are not those of a DAC.
    """
    config: Any = model.config
    stages = len(config.upsampling_ratios)
    names: dict[str, str] = {}
    for part, modules in (("encoder", DOWN), ("decoder", UP)):
        names |= _ends(part, ("conv1", "snake1", "conv2"), stages)
        for i in range(stages):
            names |= {f"{part}.block.{i}.{theirs}": f"{part}.layers.{i + 1}.{ours}" for theirs, ours in modules.items()}
    published = _Published(
        rate=config.sampling_rate,
        dim=config.hidden_size,
        filters=config.encoder_hidden_size,
        width=config.decoder_hidden_size,
        ratios=tuple(config.upsampling_ratios),
        codebooks=config.n_codebooks,
        codebook_size=config.codebook_size,
        code_dim=config.codebook_dim,
    )
    return _build(published, model, names)


def from_descript(model: nn.Module) -> Codec:
    """A ``DAC`` of the descript-audio-codec package as a codec; otherwise as ``from_transformers``.

    Raises:
        CodecError: the decoder's rates are not the encoder's in reverse, or the weights are not those of a DAC.
    """
    source: Any = model
    ratios = tuple(source.decoder_rates)
    require("encoder_rates", tuple(source.encoder_rates), ratios[::-1])
    names: dict[str, str] = {}
    for part, blocks, modules in (("encoder", "block", DOWN), ("decoder", "model", UP)):
        stages = len(ratios)
        names |= _ends(part, (f"{blocks}.0", f"{blocks}.{stages + 1}", f"{blocks}.{stages + 2}"), stages)
        for i in range(1, stages + 1):
            for ours in modules.values():  # in the same order as theirs, but our convolutions own their padding
                theirs = ours.removesuffix(".conv.conv").removesuffix(".conv")
                names[f"{part}.{blocks}.{i}.block.{theirs}"] = f"{part}.layers.{i}.{ours}"
    published = _Published(
        rate=source.sample_rate,
        dim=source.latent_dim,
        filters=source.encoder_dim,
        width=source.decoder_dim,
        ratios=ratios,
        codebooks=source.n_codebooks,
        codebook_size=source.codebook_size,
        code_dim=source.quantizer.quantizers[0].codebook_dim,
    )
    return _build(published, model, names)


@dataclass(frozen=True)
class _Published:
    """A published DAC in our words."""

    rate: int
    dim: int
    filters: int
    width: int
    ratios: tuple[int, ...]
    codebooks: int
    codebook_size: int
    code_dim: int


def _ends(part: str, theirs: tuple[str, str, str], stages: int) -> dict[str, str]:
    """The modules before and after the stages: convolution, Snake, convolution."""
    ours = ("0.conv", f"{stages + 1}", f"{stages + 2}.conv")
    return {f"{part}.{a}": f"{part}.layers.{b}" for a, b in zip(theirs, ours, strict=True)}


def _build(published: _Published, model: nn.Module, names: Mapping[str, str]) -> Codec:
    codebook = partial(CosineVQ, codebook_size=published.codebook_size)
    codec = Codec(
        Audio(published.rate),
        DACEncoder(1, published.dim, published.filters, published.ratios),
        partial(
            ResidualStack,
            quantizer=partial(Projected, quantizer=codebook, code_dim=published.code_dim),
            depth=published.codebooks,
            levels=tuple(range(1, published.codebooks + 1)),
            detach_residuals=False,
        ),
        partial(DACDecoder, width=published.width, ratios=published.ratios),
    )
    load_network(codec, _network_weights(model, names))
    load(codec.quantizer, _quantizer_weights(model))
    return codec.eval()


def _network_weights(model: nn.Module, names: Mapping[str, str]) -> dict[str, Tensor]:
    weights = {}
    for theirs, ours in names.items():
        state = model.get_submodule(theirs).state_dict()
        if "alpha" in state:
            weights[f"{ours}.alpha"] = state["alpha"].flatten()
            continue
        weights[f"{ours}.{GAIN}"], weights[f"{ours}.{DIRECTION}"] = _gain_and_direction(state)
        weights[f"{ours}.bias"] = state["bias"]
    return weights


def _quantizer_weights(model: nn.Module) -> dict[str, Tensor]:
    """Our projections have no weight norm: theirs is folded."""
    weights = {}
    quantizer: Any = model.quantizer
    for i, level in enumerate(quantizer.quantizers):
        weights[f"stages.{i}.quantizer.codebook"] = level.codebook.weight
        for theirs, ours in ((level.in_proj, "inward"), (level.out_proj, "outward")):
            state = theirs.state_dict()
            gain, direction = _gain_and_direction(state)
            weights[f"stages.{i}.{ours}.weight"] = (direction * (gain / _norm(direction)))[..., 0]
            weights[f"stages.{i}.{ours}.bias"] = state["bias"]
    return weights


def _gain_and_direction(state: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """A convolution's weight as weight norm keeps it; without weight norm, its norm and itself."""
    for gain, direction in ((GAIN, DIRECTION), ("weight_g", "weight_v")):
        if gain in state:
            return state[gain], state[direction]
    return _norm(state["weight"]), state["weight"]


def _norm(weight: Tensor) -> Tensor:
    """Over all axes but the first, as weight norm takes it."""
    return torch.norm_except_dim(weight, 2, 0)
