"""Mimi's published models, from the transformers library (https://arxiv.org/abs/2410.00037, section 3.3).

SEANet encoder -> transformer -> downsampled x 2 -> split RVQ -> upsampled x 2 -> transformer -> SEANet decoder
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.audio.medium import Audio
from neuralcodecs.codec import Codec
from neuralcodecs.convert.weights import load_network, require
from neuralcodecs.decoders import ContextualDecoder, SEANetDecoder, UpsampledDecoder
from neuralcodecs.encoders import ContextualEncoder, DownsampledEncoder, SEANetEncoder
from neuralcodecs.errors import CodecError
from neuralcodecs.quantizers.bypassed import Bypassed
from neuralcodecs.quantizers.projected import Projected
from neuralcodecs.quantizers.residual import ResidualVQ
from neuralcodecs.quantizers.split import Split

LEVELS = 8
"""Codebooks that Moshi uses, of the 32 that were published: 1.1 kbit/s."""

PARTS = {
    "encoder.downsample.conv.": "encoder.downsample.conv.",
    "encoder.encoder_transformer.": "encoder.encoder.transformer.",
    "encoder.encoder_seanet.": "encoder.encoder.encoder.",
    "decoder.upsample.conv.": "decoder.upsample.conv.",
    "decoder.decoder_transformer.": "decoder.decoder.transformer.",
    "decoder.decoder_seanet.": "decoder.decoder.decoder.",
    "downsample.conv.": "encoder.downsample.conv.",
    "encoder_transformer.": "encoder.encoder.transformer.",
    "encoder.layers.": "encoder.encoder.encoder.layers.",
    "upsample.conv.": "decoder.upsample.conv.",
    "decoder_transformer.": "decoder.decoder.transformer.",
    "decoder.layers.": "decoder.decoder.decoder.layers.",
}
"""Prefixes of weights: transformers' names, the lower half in versions whose halves are no models yet, and ours."""

INNER = {
    ".self_attn.q_proj.": ".attention.query.",
    ".self_attn.k_proj.": ".attention.key.",
    ".self_attn.v_proj.": ".attention.value.",
    ".self_attn.o_proj.": ".attention.output.",
    ".mlp.fc1.": ".network.0.",
    ".mlp.fc2.": ".network.2.",
    ".input_layernorm.": ".attention_norm.",
    ".post_attention_layernorm.": ".network_norm.",
    ".self_attn_layer_scale.scale": ".attention_scale",
    ".mlp_layer_scale.scale": ".network_scale",
}
"""Names within a transformer's layer."""


def from_transformers(model: nn.Module) -> Codec:
    """A ``MimiModel`` of the transformers library as a codec.

    Lengths that are no multiple of 1920 samples are completed layer by layer, as that library does.

    Raises:
        CodecError: the model is set up in a way that the published one is not and ours cannot be.
    """
    config: Any = model.config
    source: Any = model
    _check(config)
    network = _seanet(config)
    context = {
        "depth": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "hidden": config.intermediate_size,
        "context": config.sliding_window,
        "scale": config.layer_scale_initial_scale,
    }
    encoder = SEANetEncoder(config.audio_channels, config.hidden_size, **network)
    decoder = partial(ContextualDecoder, decoder=partial(SEANetDecoder, **network), **context)
    halves = source.quantizer.semantic_residual_vector_quantizer, source.quantizer.acoustic_residual_vector_quantizer
    semantic, acoustic = (_quantizer(half) for half in halves)
    split = partial(Split, semantic=semantic, acoustic=acoustic, levels=(min(LEVELS, config.num_quantizers),))
    stride = _latent_stride(model)
    codec = Codec(
        Audio(config.sampling_rate, config.audio_channels),
        DownsampledEncoder(ContextualEncoder(encoder, **context), stride),
        partial(Bypassed, quantizer=split),  # in training only: what the published model was trained with
        partial(UpsampledDecoder, decoder=decoder, stride=stride),
    )
    load_network(codec, _rename(model.state_dict()))
    inner: Any = codec.quantizer.quantizer
    for ours, theirs in zip((inner.semantic, inner.acoustic), halves, strict=True):
        _fill(ours, theirs)
    return codec.eval()


def _seanet(config: Any) -> dict[str, Any]:
    return {
        "filters": config.num_filters,
        "ratios": tuple(config.upsampling_ratios),
        "norm": "none",
        "pad_mode": config.pad_mode,
        "lstm_layers": 0,
        "dilations": tuple(config.dilation_growth_rate**i for i in range(config.num_residual_layers)),
        "true_skip": not config.use_conv_shortcut,
        "last_kernel": config.last_kernel_size,
    }


def _check(config: Any) -> None:
    for name in ("encoder_config", "decoder_config"):
        if getattr(config, name, config) is None:  # some versions of transformers have no such names
            raise CodecError(f"cannot convert a model with {name} None: only whole ones")
    require("use_causal_conv", config.use_causal_conv, True)
    require("trim_right_ratio", config.trim_right_ratio, 1.0)
    require("hidden_act", config.hidden_act, "gelu")
    require("norm_eps", config.norm_eps, 1e-5)
    require("rope_type", config.rope_parameters["rope_type"], "default")
    require("rope_theta", config.rope_parameters["rope_theta"], 10000.0)
    require("upsample_groups", config.upsample_groups, config.hidden_size)


def _rename(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in weights.items():
        for theirs, ours in PARTS.items():
            if name.startswith(theirs):
                inner = f".{name.removeprefix(theirs)}"
                for before, after in INNER.items():
                    inner = inner.replace(before, after)
                renamed[ours + inner[1:]] = value
    return renamed


def _latent_stride(model: nn.Module) -> int:
    """Frames of SEANet per position: of the layer, since not every version's config tells it."""
    strides: list[Any] = [part.stride for name, part in model.named_modules() if name.endswith("downsample.conv")]
    if not strides:
        raise CodecError("cannot convert a Mimi that codes every frame of its SEANet: only with a downsampling")
    return int(strides[0][0])


def _codebooks(half: Any) -> Float[Tensor, "q k d"]:
    """The means of the clusters, from their sums and sizes, as the library computes them."""
    sums = torch.stack([layer.codebook.embed_sum for layer in half.layers])
    sizes = torch.stack([layer.codebook.cluster_usage for layer in half.layers])
    return sums / sizes.clamp(min=half.layers[0].codebook.epsilon)[..., None]


def _quantizer(half: Any) -> partial[Projected]:
    if half.input_proj is None:
        raise CodecError("cannot convert a Mimi whose codebooks are as wide as its latents: only projected ones")
    codebooks, size, code_dim = _codebooks(half).shape
    residual = partial(ResidualVQ, codebooks=codebooks, codebook_size=size)
    return partial(Projected, quantizer=residual, code_dim=code_dim, bias=False)


@torch.no_grad()
def _fill(ours: Any, theirs: Any) -> None:
    ours.inward.weight.copy_(theirs.input_proj.weight[..., 0])
    ours.outward.weight.copy_(theirs.output_proj.weight[..., 0])
    ours.quantizer.load_codebooks(_codebooks(theirs))
