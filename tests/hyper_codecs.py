"""A tiny hyperprior codec, trained for seconds on real pictures, for every test that needs one."""

from functools import cache, partial

import torch
from conftest import SAMPLES
from torch import Tensor

from neuralcodecs import Codec
from neuralcodecs.decoders import SynthesisDecoder
from neuralcodecs.encoders import AnalysisEncoder
from neuralcodecs.image import MSE, Image
from neuralcodecs.quantizers.contexts import Checkerboard, HyperpriorOnly, Slices
from neuralcodecs.quantizers.hyperprior import Hyper, Hyperprior
from neuralcodecs.training import Lambdas, RateDistortion

WORTH = (0.004, 0.016)
CONTEXTS = {
    "none": partial(HyperpriorOnly, hidden=12),
    "slices": partial(Slices, shares=(1, 1, 2), passes=Checkerboard(), hidden=12),
}


def fresh(context: str = "slices", stages: tuple[int, ...] = (8, 12), between: int = 1) -> Codec:
    quantizer = partial(
        Hyperprior,
        hyper=partial(Hyper, hidden=8, channels=4, features=12),
        context=CONTEXTS[context],
        gains=(1.0, 2.0),
        lambdas=WORTH,
        between=between,
    )
    encoder = AnalysisEncoder(dim=16, channel_widths=stages, blocks=1)
    decoder = partial(SynthesisDecoder, channel_widths=stages[::-1], blocks=1)
    return Codec(Image(), encoder, quantizer, decoder)


def photo(name: str, height: int, width: int) -> Tensor:
    """The top left of a sample picture, ``(3, height, width)``."""
    signal, _ = Image().read(SAMPLES / "image" / name)
    return signal[:, 100 : 100 + height, 100 : 100 + width]


@cache
def trained(context: str = "slices") -> Codec:
    """In evaluation; after 60 steps bits and pictures are far from those of fresh weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codec, objective = fresh(context), RateDistortion(MSE(), Lambdas(WORTH))
        picture = photo("train/openimages_000ab8c20b3e5b58.jpg", 256, 256)
        tiles = picture.unfold(1, 64, 64).unfold(2, 64, 64).flatten(1, 2).transpose(0, 1)
        optimizer = torch.optim.Adam(codec.parameters(), lr=5e-3)
        for step in range(60):
            terms, output, _ = objective(codec, tiles[4 * (step % 4) :][:4], 1 + step % 2)
            optimizer.zero_grad()
            (gradient,) = torch.autograd.grad(terms["distortion"].value, output.leaf)
            ((output.signal * gradient).sum() + terms["rate"].value).backward()
            optimizer.step()
    return codec.eval()
