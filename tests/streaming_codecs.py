"""Codecs of the shipped audio configs with narrow networks and used codebooks, real signals, and random chunks."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
import yaml
from conftest import ROOT, SAMPLES
from torch import Tensor

from neuralcodecs import Codec, Codes
from neuralcodecs.audio import Audio
from neuralcodecs.pretrained import build
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.quantizers.vq import CosineVQ
from neuralcodecs.streams import joined_codes

CAUSAL = ["encodec_24khz", "encodec_24khz_constant", "mimi_24khz", "quickstart_speech"]
LOOKING_AHEAD = ["dac_16khz", "dac_24khz", "dac_44khz"]
DIFFERENT = ["encodec_24khz", "encodec_24khz_constant", "mimi_24khz", "dac_24khz", "encodec_48khz"]
"""One of each kind of network."""
EVERY = [*CAUSAL, *LOOKING_AHEAD, "encodec_48khz"]
WIDTHS = {"filters": 4, "width": 32, "dim": 16, "hidden": 32, "code_dim": 8, "codebook_size": 256, "heads": 2}
# few frames that attention sees, so that a second is more; and weights of its layers that can be noticed
DEPTHS = {"context": 12, "depth": 4, "codebooks": 4}


def narrow(node: Any, constant: bool, name: str = "") -> Any:
    """A config of the same structure, small; ``constant``: with zeros around SEANet's convolutions."""
    if isinstance(node, list):
        kept = node if name != "levels" else [4] if 4 in node else node[:1]
        return [narrow(item, constant) for item in kept]
    if not isinstance(node, dict):
        return min(node, (WIDTHS | DEPTHS)[name]) if name in WIDTHS | DEPTHS else node
    node = {key: narrow(value, constant, key) for key, value in node.items()}
    if "context" in node:
        node["scale"] = 0.5
    if constant and "ratios" in node:
        node["pad_mode"] = "constant"
    return node


@torch.no_grad()
def fill(codec: Codec, latents: Tensor) -> None:
    """Codes around the vectors that reach each level, so that many are used and no choice is a tie."""
    seen: list[Tensor] = []
    for quantizer in codec.quantizer.modules():
        if not isinstance(quantizer, ResidualVQ | CosineVQ):
            continue
        encode = quantizer.encode
        quantizer.encode = lambda x, n=None, encode=encode: seen.append(x) or encode(x, n)  # type: ignore[method-assign]
        codec.quantizer.encode(latents, len(codec.quantizer.codebook_sizes))
        del quantizer.encode
        rows = seen.pop().movedim(1, -1).flatten(0, -2)
        codebooks = quantizer.codebooks if isinstance(quantizer, ResidualVQ) else quantizer.codebook[None]
        for codes in codebooks:
            codes.copy_(rows.mean(0) + 0.7 * rows.std(0) * torch.randn_like(codes))
            rows = rows - codes[torch.cdist(rows, codes).argmin(-1)]


@cache
def codec_of(name: str) -> Codec:
    torch.manual_seed(0)
    path = ROOT / "configs" / "audio" / f"{name.removesuffix('_constant')}.yaml"
    config = yaml.safe_load(path.read_text())["model"]["init_args"]["codec"]
    codec = build(narrow(config, name.endswith("_constant")), name).eval()
    signal = recording(codec.medium.rate, codec.medium.channels, 2 * codec.medium.rate)
    with torch.no_grad():
        fill(codec, codec.encoder(signal))
    return codec


@cache
def recording(rate: int, channels: int, length: int) -> Tensor:
    """Speech, or music where there is more than one channel: ``(1, channels, length)``."""
    folder = SAMPLES / ("music" if channels > 1 else "speech/test")
    signal, _ = Audio(rate, channels).read(min(folder.glob("*.flac")))
    return signal[None, :, rate // 2 : rate // 2 + length]


def signal_for(codec: Codec, length: int) -> Tensor:
    return recording(codec.medium.rate, codec.medium.channels, length)


def chunks_of(signal: Tensor) -> Iterator[Tensor]:
    """Chunks of random sizes, whose typical size is random too: from hundreds of samples on."""
    typical = 10 ** (3.2 + 1.5 * float(torch.rand(())))
    while signal.shape[-1]:
        size = int(torch.rand(()) * typical) * int(torch.rand(()) > 0.1)  # a tenth of the chunks are empty
        yield signal[..., :size]
        signal = signal[..., size:]


def streamed_codes(codec: Codec, chunks: list[Tensor], levels: int | None = None) -> list[Codes]:
    stream = codec.encoder_stream(levels)
    state, pieces = stream.start(len(chunks[0])), []
    for chunk in chunks:
        codes, state = stream.push(chunk, state)
        pieces.append(codes)
    return [*pieces, stream.flush(state)[0]]


def streamed_signal(codec: Codec, pieces: list[Codes]) -> Tensor:
    stream = codec.decoder_stream()
    state, signals = stream.start(len(pieces[0].shapes)), []
    for codes in pieces:
        signal, state = stream.push(codes, state)
        signals.append(signal)
    return torch.cat([*signals, stream.flush(state)[0]], dim=-1)


def assert_equal_codes(streamed: list[Codes], offline: Codes) -> None:
    together = joined_codes(streamed)
    assert together.shapes == offline.shapes
    for ours, whole in zip(together, offline, strict=True):
        assert (ours.name, ours.alphabet, ours.grids) == (whole.name, whole.alphabet, whole.grids)
        assert torch.equal(ours.values, whole.values)
