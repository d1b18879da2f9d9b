"""A small picture codec and a small speech codec with generative decoders of random weights: what their tests share."""

from functools import partial

import torch
from image_networks import CNN
from torch import nn

from neuralcodecs import Codec
from neuralcodecs.audio import Audio, OverlapAdd
from neuralcodecs.codec import DecoderFactory
from neuralcodecs.decoders import DiT, FlowDecoder, UNet
from neuralcodecs.decoders.condition import Pooled, Pyramid, Together, Tokens, UpsampledMap
from neuralcodecs.decoders.process import Cosine, Data, LogitNormalTimes, MinSNR, Noise, Process, Rotation
from neuralcodecs.decoders.solvers import DDIM, Embedded, Heun, Sampler, TwoPhase
from neuralcodecs.decoders.space import FoldedSpace, SignalSpace
from neuralcodecs.encoders import CNNEncoder, SEANetEncoder
from neuralcodecs.image import Image
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.quantizers.binary import GroupedLFQ

SMALL = {
    "network": partial(UNet, width=8, multipliers=(1, 2), blocks=1),
    "conditioner": partial(UpsampledMap, width=4),
    "sampler": Sampler(steps=3, seed=11),
}
EVERYTHING = partial(
    Together, maps=partial(Pyramid, widths=(4, 8)), tokens=partial(Tokens, width=16), vector=partial(Pooled, width=8)
)
DECODERS = {
    "unet": partial(FlowDecoder, **SMALL),
    "unet told everything": partial(
        FlowDecoder,
        network=partial(UNet, width=8, multipliers=(1, 2), blocks=1, attention=True),
        conditioner=EVERYTHING,
        space=partial(FoldedSpace, block=(2, 2), scale=2.0),
        process=Process(Cosine(), Rotation(), LogitNormalTimes(), MinSNR()),
        sampler=Sampler(DDIM(), TwoPhase("tokens"), 2, 1.5),
        dropout=0.9,
    ),
    "dit": partial(
        FlowDecoder,
        network=partial(DiT, patch=(4, 4), width=16, depth=2, heads=2),
        conditioner=partial(Together, maps=partial(UpsampledMap, width=4), tokens=partial(Tokens, width=16)),
        space=partial(SignalSpace, scale=2.0),
        process=Process(Cosine(), Noise()),
        sampler=Sampler(Heun(0.5), steps=2),
    ),
    "one step": partial(
        FlowDecoder,
        network=partial(UNet, width=8, multipliers=(1, 2), blocks=1),
        conditioner=partial(Pyramid, widths=(4, 8)),
        process=Process(Cosine(), Data()),
        sampler=Sampler(DDIM(), Embedded(), 1, temperature=0.8),
    ),
}
"""Of pictures, by name: the parts of decoders in several combinations."""


def shaken(codec: Codec, size: float = 0.1) -> Codec:
    """With its decoder's silent last layers made to speak."""
    for parameter in codec.decoder.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=size)
    return codec.eval()


def flow_picture_codec(decoder: DecoderFactory | None = None, seed: int = 0) -> Codec:
    """8 bits per 4 x 4 pixels in two groups."""
    torch.manual_seed(seed)
    encoder = CNNEncoder(dim=8, **CNN)
    return shaken(Codec(Image(), encoder, partial(GroupedLFQ, groups=2), decoder or partial(FlowDecoder, **SMALL)))


def flow_speech_codec(segmented: bool = False) -> Codec:
    """50 Hz x 2 codebooks of 16 at 16 kHz, optionally in pieces of half a second."""
    torch.manual_seed(0)
    encoder = SEANetEncoder(dim=8, filters=2, ratios=(8, 8, 5), lstm_layers=0)
    quantizer = partial(ResidualVQ, codebooks=2, codebook_size=16)
    codec = Codec(
        Audio(16000), encoder, quantizer, partial(FlowDecoder, **SMALL), OverlapAdd(8000, 0.02) if segmented else None
    )
    codec.quantizer.load_codebooks(0.1 * torch.randn(2, 16, 8))
    return shaken(codec)
