"""EnCodec's published models, from the transformers library and from its own (https://arxiv.org/abs/2210.13438)."""

import math
import re
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.audio.medium import Audio
from neuralcodecs.audio.segments import OverlapAdd, RootMeanSquare
from neuralcodecs.codec import Codec
from neuralcodecs.convert.weights import load_network, require
from neuralcodecs.decoders import SEANetDecoder
from neuralcodecs.encoders import SEANetEncoder
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import Norm
from neuralcodecs.quantizers.residual import ResidualVQ


def from_transformers(model: nn.Module) -> Codec:
    """An ``EncodecModel`` of the transformers library as a codec.

    Raises:
        CodecError: the model is set up in a way that no published model is and ours cannot be.
    """
    return _build(_read_transformers(model))


def from_encodec(model: nn.Module) -> Codec:
    """An ``EncodecModel`` of the encodec package as a codec; otherwise as ``from_transformers``.

    Raises:
        CodecError: the model is set up in a way that ours cannot be.
    """
    return _build(_read_encodec(model))


@dataclass(frozen=True)
class _Published:
    """A published EnCodec in our words: ``network`` is what encoder and decoder share, ``weights`` have our names."""

    rate: int
    channels: int
    dim: int
    network: dict[str, Any]
    bandwidths: list[float]
    segment: int | None
    overlap: float | None
    scaled: bool
    codebooks: Float[Tensor, "q k d"]
    weights: dict[str, Tensor]

    def levels(self) -> tuple[int, ...]:
        """Codebooks that fit each bandwidth (kbit/s)."""
        frame_rate = math.ceil(self.rate / math.prod(self.network["ratios"]))
        bits = math.log2(self.codebooks.shape[1]) * frame_rate
        return tuple(max(1, math.floor(1000 * bandwidth / bits)) for bandwidth in self.bandwidths)


def _read_transformers(model: nn.Module) -> _Published:
    config: Any = model.config
    quantizer: Any = model.quantizer
    require("trim_right_ratio", config.trim_right_ratio, 1.0)
    require("codebook_dim", config.codebook_dim, config.hidden_size)
    return _Published(
        rate=config.sampling_rate,
        channels=config.audio_channels,
        dim=config.hidden_size,
        network={
            "filters": config.num_filters,
            "ratios": tuple(config.upsampling_ratios),
            "causal": config.use_causal_conv,
            "norm": config.norm_type,
            "pad_mode": config.pad_mode,
            "lstm_layers": config.num_lstm_layers,
            "dilations": tuple(config.dilation_growth_rate**i for i in range(config.num_residual_layers)),
            "true_skip": not config.use_conv_shortcut,
            "last_kernel": config.last_kernel_size,
        },
        bandwidths=[float(bandwidth) for bandwidth in config.target_bandwidths],
        segment=config.chunk_length,
        overlap=config.overlap,
        scaled=config.normalize,
        codebooks=torch.stack([layer.codebook.embed for layer in quantizer.layers]),
        weights=model.state_dict(),
    )


def _read_encodec(model: nn.Module) -> _Published:
    source: Any = model
    encoder = source.encoder
    units = encoder.model[1 : 1 + encoder.n_residual_layers]
    weights = {_encodec_name(name): value for name, value in model.state_dict().items()}
    return _Published(
        rate=source.sample_rate,
        channels=source.channels,
        dim=encoder.dimension,
        network={
            "filters": encoder.n_filters,
            "ratios": tuple(source.decoder.ratios),
            "causal": encoder.model[0].causal,
            "norm": encoder.model[0].conv.norm_type,
            "pad_mode": encoder.model[0].pad_mode,
            "lstm_layers": sum(bool(re.fullmatch(r"encoder\..*\.weight_ih_l\d+", name)) for name in weights),
            "dilations": tuple(u.block[1].conv.conv.dilation[0] for u in units),
            "true_skip": not any(".shortcut." in name for name in weights),
            "last_kernel": encoder.model[-1].conv.conv.kernel_size[0],
        },
        bandwidths=[float(bandwidth) for bandwidth in source.target_bandwidths],
        segment=source.segment_length,
        overlap=source.overlap,
        scaled=source.normalize,
        codebooks=torch.stack([layer.codebook for layer in source.quantizer.vq.layers]),
        weights=weights,
    )


def _encodec_name(name: str) -> str:
    """``encoder.model.0.conv.conv.weight_g`` -> ``encoder.layers.0.conv.parametrizations.weight.original0``."""
    name = re.sub(r"^(encoder|decoder)\.model\.", r"\1.layers.", name)
    name = re.sub(r"\.(conv|convtr)\.(conv|convtr)\.", ".conv.", name)
    name = re.sub(r"\.(conv|convtr)\.norm\.", ".norm.", name)
    name = re.sub(r"\.weight_g$", ".parametrizations.weight.original0", name)
    return re.sub(r"\.weight_v$", ".parametrizations.weight.original1", name)


def _build(published: _Published) -> Codec:
    if published.network["norm"] not in get_args(Norm):
        raise CodecError(f"cannot convert norm {published.network['norm']!r}: only {', '.join(get_args(Norm))}")
    codebooks, size, _ = published.codebooks.shape
    codec = Codec(
        Audio(published.rate, published.channels),
        SEANetEncoder(published.channels, published.dim, **published.network),
        partial(ResidualVQ, codebooks=codebooks, codebook_size=size, levels=published.levels()),
        partial(SEANetDecoder, **published.network),
        OverlapAdd(published.segment, published.overlap or 0.0) if published.segment else None,
        RootMeanSquare() if published.scaled else None,
    )
    load_network(codec, published.weights)
    quantizer: Any = codec.quantizer
    quantizer.load_codebooks(published.codebooks)
    return codec.eval()
