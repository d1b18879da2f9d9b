"""A small picture codec and a small speech codec with generative decoders of random weights: what their tests share."""

from functools import partial

import torch
from image_networks import CNN
from torch import nn

from neuralcodecs import Codec
from neuralcodecs.audio import Audio, OverlapAdd
from neuralcodecs.codec import DecoderFactory
from neuralcodecs.decoders import FlowDecoder, UNet
from neuralcodecs.decoders.condition import UpsampledMap
from neuralcodecs.decoders.solvers import Sampler
from neuralcodecs.encoders import CNNEncoder, SEANetEncoder
from neuralcodecs.image import Image
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.quantizers.binary import GroupedLFQ

SMALL = {
    "network": partial(UNet, width=8, multipliers=(1, 2), blocks=1),
    "conditioner": partial(UpsampledMap, width=4),
    "sampler": Sampler(steps=3, seed=11),
}


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
