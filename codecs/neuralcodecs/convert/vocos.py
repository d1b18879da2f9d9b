"""Published Vocos models, from the vocos package (https://arxiv.org/abs/2306.00814), as codecs or behind EnCodec's."""

import re
from functools import partial
from typing import Any

from torch import Tensor, nn

from neuralcodecs.audio.medium import Audio
from neuralcodecs.audio.mel import LogMelEncoder
from neuralcodecs.codec import Codec
from neuralcodecs.convert.weights import load
from neuralcodecs.decoders.vocos import VocosDecoder
from neuralcodecs.quantizers.rounded import Rounded

_NAMES = (
    (r"^backbone\.embed\.", "embed."),
    (r"^backbone\.norm\.", "norm."),
    (r"^backbone\.convnext\.", "blocks."),
    (r"^backbone\.final_layer_norm\.", "last_norm."),
    (r"^head\.out\.", "head."),
    (r"\.dwconv\.", ".depthwise."),
    (r"\.pwconv1\.", ".widen."),
    (r"\.pwconv2\.", ".narrow."),
    (r"\.gamma$", ".scale"),
    (r"(^|\.)norm\.(scale\.)?weight$", r"\1norm.scale"),
    (r"(^|\.)norm\.(shift\.weight|bias)$", r"\1norm.shift"),
)


def from_vocos(model: nn.Module) -> Codec:
    """A ``Vocos`` on mel spectrograms as a codec, in evaluation mode.

    Raises:
        CodecError: its weights are not those of a ConvNeXt with an inverse Fourier transform.
    """
    source: Any = model
    spectrogram = source.feature_extractor.mel_spec
    mel = {"bands": spectrogram.n_mels, "window": spectrogram.n_fft, "hop": spectrogram.hop_length}
    encoder = LogMelEncoder(spectrogram.sample_rate, padding=source.feature_extractor.padding, **mel)
    decoder = partial(VocosDecoder, **_network(model))
    codec = Codec(Audio(spectrogram.sample_rate), encoder, Rounded, decoder)
    load(codec.decoder, _weights(model))
    return codec.eval()


def decoder_from_vocos(model: nn.Module, dim: int) -> VocosDecoder:
    """The decoder alone, for latents of ``dim`` channels: those of a model on EnCodec's codes and one for the bitrate.

    Raises:
        CodecError: as above.
    """
    source: Any = model
    decoder = VocosDecoder(dim, 1, (source.head.istft.hop_length,), **_network(model))
    load(decoder, _weights(model))
    return decoder.eval()


def _network(model: nn.Module) -> dict[str, Any]:
    source: Any = model
    weights = _weights(model)
    (norm,) = (value for name, value in weights.items() if name == "norm.scale")
    return {
        "width": source.backbone.embed.out_channels,
        "hidden": source.backbone.convnext[0].pwconv1.out_features,
        "blocks": len(source.backbone.convnext),
        "window": source.head.istft.n_fft,
        "padding": source.head.istft.padding,
        "conditions": len(norm) if norm.ndim == 2 else 0,
    }


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """The trained ones by our names."""
    weights = {}
    for name, value in model.state_dict().items():
        if name.startswith(("backbone.", "head.out.")):
            for pattern, ours in _NAMES:
                name = re.sub(pattern, ours, name)
            weights[name] = value
    return weights
