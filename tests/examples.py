"""A small codec with real parts and random weights, and real speech: what tests of files and commands share."""

from functools import partial
from pathlib import Path

import soundfile
import torch
from conftest import SAMPLES

from neuralcodecs import Codec
from neuralcodecs.audio import Audio, OverlapAdd, RootMeanSquare
from neuralcodecs.decoders import SEANetDecoder
from neuralcodecs.encoders import SEANetEncoder
from neuralcodecs.quantizers import ResidualVQ


def make_codec(seed: int = 0, segmented: bool = False, rate: int = 16000) -> Codec:
    """75 Hz x 4 codebooks of 60 at 24 kHz; an alphabet that is no power of two, random but used codebooks."""
    torch.manual_seed(seed)
    network = {"filters": 4, "ratios": (8, 5, 4, 2), "lstm_layers": 1, "pad_mode": "reflect"}
    codec = Codec(
        Audio(rate),
        SEANetEncoder(dim=8, **network),
        partial(ResidualVQ, codebooks=4, codebook_size=60, levels=(1, 2, 4)),
        partial(SEANetDecoder, **network),
        OverlapAdd(8000, 0.01) if segmented else None,
        RootMeanSquare() if segmented else None,
    ).eval()
    codec.quantizer.load_codebooks(0.1 * torch.randn(4, 60, 8))
    return codec


def speech(count: int = 1) -> list[Path]:
    return sorted((SAMPLES / "speech" / "test").glob("*.flac"))[:count]


def clip(folder: Path, samples: int = 20011, name: str = "clip.wav") -> Path:
    """The first samples of a real recording, at its own rate."""
    data, rate = soundfile.read(speech()[0], stop=samples)
    soundfile.write(folder / name, data, rate)
    return folder / name


def forge_flac(path: Path, frames: int) -> Path:
    """Real speech whose header promises another number of samples: the 36 bits in STREAMINFO."""
    data = bytearray(speech()[0].read_bytes())
    assert data[:4] == b"fLaC"
    data[21] = (data[21] & 0xF0) | (frames >> 32)
    data[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(data)
    return path
