"""What ``generative_decoder.py`` compares: codecs of pictures and of speech, each with a decoder of either kind."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from pool import Pool

from neuralcodecs import Codec
from neuralcodecs.audio import Audio, LogMelEncoder, MultiScaleMel, MultiScaleSTFT, NoiseToSignal
from neuralcodecs.codec import DecoderFactory
from neuralcodecs.decoders import (
    CNNDecoder,
    CodecSpace,
    Data,
    FlowDecoder,
    FoldedSpace,
    Process,
    Pyramid,
    Sampler,
    SEANetDecoder,
    UNet,
    VocosDecoder,
)
from neuralcodecs.encoders import CNNEncoder, SEANetEncoder
from neuralcodecs.image import L1, Image
from neuralcodecs.quantizers import Bypassed, ResidualVQ
from neuralcodecs.quantizers.binary import GroupedLFQ
from neuralcodecs.quantizers.rounded import Rounded
from neuralcodecs.training import AudioDataModule, ImageDataModule, Loading, Reconstruct, Weighted

SAMPLES = Path(__file__).parents[1] / "samples"


class Pictures:
    """The codecs of ``configs/image/quickstart_image.yaml`` and ``quickstart_flow_image.yaml``, of any width.

    f8 and 64 bits at a position, or f16 and as many groups of 8 bits as the options say.
    """

    objective = partial(Reconstruct, Weighted(L1()))
    weights = {"commitment": 0.02, "token_entropy": 0.001, "codebook_entropy": 0.001}
    suffix, shown = ".png", (208, 208)
    vocoder: Codec | None = None

    def __init__(self, options: argparse.Namespace) -> None:
        width = options.width or 16
        coarse = options.groups is not None
        multipliers = (1, 1, 2, 2, 4) if coarse else (1, 2, 4, 4)
        network: dict[str, Any] = {"width": width, "multipliers": multipliers, "blocks": options.blocks}
        groups = options.groups or 8
        self.medium = Image()
        self.encoder = partial(CNNEncoder, dim=8 * groups, space_to_depth=True, **network)
        self.quantizer = partial(GroupedLFQ, groups=groups)
        self.deterministic: DecoderFactory = partial(CNNDecoder, **network)
        levels = (1, 2, 2, 4) if coarse else (1, 2, 2)
        self.flow: DecoderFactory = partial(
            FlowDecoder,
            network=partial(UNet, width=2 * width, multipliers=levels, blocks=options.blocks),
            conditioner=partial(Pyramid, widths=tuple(width * m for m in (1, 2, 4, 4)[: len(levels)])),
            space=partial(FoldedSpace, block=(2, 2), scale=2.0),
            process=Process(prediction=Data()),
            sampler=Sampler(steps=8),
        )
        train = options.train or [str(SAMPLES / "image" / "train")]
        loading = Loading(workers=options.workers, cache=True)
        held = [str(SAMPLES / "image" / "test")]
        data = ImageDataModule(train, held, options.crop, options.batch, scale=(0.3, 0.6), loading=loading)
        self.data = Pool(data, options.pool, options.device)
        self.test = options.test or [SAMPLES / "image" / "test"]


class Speech:
    """The codec of ``configs/audio/quickstart_speech.yaml``, of any width, decoded as by ``encodec_flow.yaml``: log-mel
    spectrograms are drawn, one frame for each position of the codes, and a vocoder makes sound of them.
    """

    objective = partial(Reconstruct, Weighted(NoiseToSignal(), 5.0), Weighted(MultiScaleMel(rate=16000), 0.2))
    weights = {"commitment": 0.25}
    suffix, shown = ".flac", (32000,)

    def __init__(self, options: argparse.Namespace) -> None:
        width = options.width or 16
        network: dict[str, Any] = {"filters": width, "ratios": (5, 4, 4, 2), "lstm_layers": 0, "pad_mode": "constant"}
        stack = partial(ResidualVQ, codebooks=8, codebook_size=256, levels=(2, 4, 8), decay=0.9)
        self.medium = Audio(16000)
        self.encoder = partial(SEANetEncoder, dim=64, **network)
        self.quantizer = partial(Bypassed, quantizer=stack)
        self.deterministic: DecoderFactory = partial(SEANetDecoder, **network)
        vocos = partial(VocosDecoder, width=16 * width, hidden=48 * width, padding="same")
        mel = LogMelEncoder(16000, bands=64, window=1024, hop=160, padding="same")
        self.vocoder: Codec | None = Codec(self.medium, mel, Rounded, vocos)
        self.flow: DecoderFactory = partial(
            FlowDecoder,
            network=partial(UNet, width=8 * width, multipliers=(1, 2, 2), blocks=options.blocks),
            conditioner=partial(Pyramid, widths=(4 * width, 8 * width, 8 * width)),
            space=partial(CodecSpace, codec=self.vocoder, scale=0.275, mean=-2.7),
            process=Process(prediction=Data()),
            sampler=Sampler(steps=8),
        )
        train = options.train or [str(SAMPLES / "speech" / "train")]
        loading = Loading(workers=options.workers, cache=True)
        held = [str(SAMPLES / "speech" / "val")]
        data = AudioDataModule(train, held, 16000, 1, options.seconds, options.batch, loading=loading)
        self.data = Pool(data, options.pool, options.device)
        self.test = options.test or [SAMPLES / "speech" / "test"]


VOCODING = Reconstruct(spectrum=Weighted(MultiScaleMel(rate=16000)), perceptual=Weighted(MultiScaleSTFT()))
"""What a vocoder learns by in a minute or two: distances of spectra alone; an adversary needs longer."""

Kind = Pictures | Speech
KINDS: dict[str, type[Pictures] | type[Speech]] = {"image": Pictures, "audio": Speech}
