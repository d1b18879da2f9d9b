"""Golden files with coded payloads, and the tiny models that coded them, all in one archive: coded/models.tar.xz.

The archive is as old as its files: floats differ between machines, so that models made anew would not read them. To
add a file later, make it, and a model of its own, under new names.
"""

import io
import lzma
import tarfile
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from conftest import SAMPLES
from golden_files import MODELS, digest
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs import Codec
from neuralcodecs.audio import Audio
from neuralcodecs.bitstream.coarse import Coarse
from neuralcodecs.coding import Coding
from neuralcodecs.decoders import SEANetDecoder, SynthesisDecoder
from neuralcodecs.encoders import AnalysisEncoder, SEANetEncoder
from neuralcodecs.files import encode_signals, open_codes, read_codes, write_codes
from neuralcodecs.image import Image
from neuralcodecs.lm.orders import Masked
from neuralcodecs.masked_coder import MaskedPriorCoder
from neuralcodecs.medium import SignalInfo
from neuralcodecs.prior_coders import LearnedPriorCoder, StaticPriorCoder
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer
from neuralcodecs.priors.counted import StaticPrior
from neuralcodecs.priors.masked import MaskedTransformer
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.quantizers.binary import GroupedLFQ
from neuralcodecs.quantizers.contexts import Checkerboard, Slices
from neuralcodecs.quantizers.hyperprior import Hyper, Hyperprior

FILES: dict[str, tuple[str, str | None, Coarse | None]] = {
    "fixed": ("speech", "none", None),
    "static": ("speech", "static", None),
    "adaptive": ("speech", "adaptive", None),
    "factorised": ("speech", "learned", None),
    "parallel": ("speech-parallel", "learned", None),
    "coarse-likeliest": ("speech", "learned", Coarse(1)),
    "coarse-drawn": ("speech-parallel", "learned", Coarse(2, 2**32 - 1)),
    "masked": ("picture", "learned", None),
    "hyperprior": ("picture-hyperprior", None, None),
}
"""By name: the model, its prior, and what of the levels is sent."""


def unpack(folder: Path) -> Path:
    """The models, each in a folder of its name below ``folder``."""
    with tarfile.open(MODELS, "r:xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def make_models() -> bytes:
    """The archive, as bytes."""
    data = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=data, mode="w") as archive:
        for name, codec in _models():
            codec.save_pretrained(Path(folder) / name)
            for path in sorted((Path(folder) / name).iterdir()):
                archive.add(path, f"{name}/{path.name}", filter=_anonymous)
    return lzma.compress(data.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def coded_files() -> dict[str, dict[str, object]]:
    """Write the archive and every file; what is expected of each."""
    MODELS.parent.mkdir()
    with MODELS.open("xb") as file:
        file.write(make_models())
    expected = {}
    with tempfile.TemporaryDirectory() as folder:
        models = unpack(Path(folder))
        for name, (model, prior, coarse) in FILES.items():
            codec, path = Codec.from_pretrained(models / model), MODELS.with_name(f"{name}.ncs")
            signal = _signal(codec)
            codes = encode_signals(codec, [signal])[0]
            info = SignalInfo(codec.medium.rate, codec.medium.channels, codes.shapes[0])
            write_codes(path, codec, codes, info, coding=Coding(codec, prior, coarse))
            expected[name] = {"model": model} | coded_facts(path, codec)
    return expected


def _signal(codec: Codec) -> Float[Tensor, "c *space"]:
    """Three seconds of speech, two lanes of its codes; or a small part of a picture."""
    source = SAMPLES / ("speech/test" if codec.medium.rate else "image/test")
    signal = codec.medium.read(sorted(source.glob("*.*"))[0])[0]
    return signal[:, 8000:56000] if codec.medium.rate else signal[:, 200:256, 100:164]


def coded_facts(path: Path, codec: Codec) -> dict[str, object]:
    """Of each stream the coder, the prior and all values, decoded with the model."""
    codes, _ = read_codes(path, codec)
    with open_codes(path) as reader:
        header = reader.header
    streams = [{"name": s.name, "grid": list(s.grid), "coder": s.coder, "prior": s.prior.hex()} for s in header.streams]
    return {"streams": streams, "sha256": digest(header, tuple(stream.values[0].numpy() for stream in codes))}


def _models() -> Iterator[tuple[str, Codec]]:
    for name, kind in (("speech", FactorisedTransformer), ("speech-parallel", ParallelTransformer)):
        torch.manual_seed(0)  # one codec with two priors
        codec = _speech()
        alphabet = codec.quantizer.codebook_sizes
        prior = _uneven(kind(alphabet, dim=8, heads=2, layers=1, window=12))
        codec.attach("learned", LearnedPriorCoder(prior.export(), alphabet))
        yield name, codec
    codec = _picture(partial(GroupedLFQ, groups=2))
    prior = _uneven(MaskedTransformer(codec.quantizer.codebook_sizes, Masked(4), 2, 8, 2, 1, 2))
    codec.attach("learned", MaskedPriorCoder(prior.export()))
    yield "picture", codec
    hyper = partial(Hyper, hidden=4, channels=2, features=6)
    context = partial(Slices, shares=(1, 1), passes=Checkerboard(), hidden=4)
    quantizer = partial(Hyperprior, hyper=hyper, context=context, gains=(8.0, 16.0), lambdas=(0.01, 0.02))
    yield "picture-hyperprior", _uneven(_picture(quantizer))


def _speech() -> Codec:
    network = {"filters": 2, "ratios": (20, 8), "lstm_layers": 0}
    quantizer = partial(ResidualVQ, codebooks=3, codebook_size=11, levels=(1, 3))
    codec = _coarsened(
        Codec(Audio(16000), SEANetEncoder(dim=4, **network), quantizer, partial(SEANetDecoder, **network))
    )
    codec.quantizer.load_codebooks(0.3 * torch.randn(3, 11, 4))
    static = StaticPrior(codec.quantizer.codebook_sizes)
    signal = codec.medium.read(sorted((SAMPLES / "speech" / "test").glob("*.*"))[1])[0]
    static.count(encode_signals(codec, [signal])[0]["codes"])
    codec.attach("static", StaticPriorCoder(static))
    return codec


def _picture(quantizer: partial) -> Codec:
    widths = (4, 4)
    decoder = partial(SynthesisDecoder, channel_widths=widths, blocks=1)
    return _coarsened(Codec(Image(), AnalysisEncoder(dim=8, channel_widths=widths, blocks=1), quantizer, decoder))


def _coarsened(codec: Codec) -> Codec:
    """With weights of few digits, which are few bytes in an archive."""
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.copy_((16 * parameter).round() / 16)
    return codec.eval()


def _uneven(module: nn.Module) -> nn.Module:
    """Weights as uneven as after training, so that no table is flat."""
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape)
            parameter += (3 * noise * noise.abs()).round() / 16
    return module.train().eval()


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without whose it was, and when."""
    plain = tarfile.TarInfo(entry.name)
    plain.size = entry.size
    return plain
