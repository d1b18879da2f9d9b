"""Convolutions and paddings of rows are those of signals as torch keeps them, gradients included."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neuralcodecs import Codec
from neuralcodecs.audio import Audio
from neuralcodecs.decoders import DACDecoder, SEANetDecoder
from neuralcodecs.encoders import DACEncoder, SEANetEncoder
from neuralcodecs.layers.paths import PATHS, Path, gpu_paths
from neuralcodecs.layers.rows import convolve, convolve_transposed, padded
from neuralcodecs.quantizers import ResidualVQ


def rows(*shape: int) -> Tensor:
    batch, channels, length = shape
    return torch.randn(batch, length, channels, dtype=torch.float64).transpose(1, 2).requires_grad_()


def equal(ours: Tensor, theirs: Tensor, *inputs: Tensor) -> None:
    upstream = torch.randn_like(theirs)
    mine, expected = (torch.autograd.grad(y, inputs, upstream.to(y)) for y in (ours, theirs))
    torch.testing.assert_close([ours, *mine], [theirs, *expected], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (4, 2)])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(7, 1, 1), (3, 1, 3), (8, 4, 1), (1, 1, 1), (7, 3, 1), (10, 3, 1)]
)
@pytest.mark.parametrize("zeros", [0, 3])
def test_convolutions(channels: int, groups: int, kernel: int, stride: int, dilation: int, zeros: int) -> None:
    x = rows(2, channels, 33)
    weight = torch.randn(6, channels // groups, kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
    wanted = F.conv1d(x, weight, bias, stride, zeros, dilation, groups)
    got = convolve(x, weight, bias, stride, dilation, groups, zeros)
    assert got.stride(1) == 1
    equal(got, wanted, x, weight, bias)
    back = torch.randn(channels, 6 // groups, kernel, dtype=torch.float64, requires_grad=True)
    wanted = F.conv_transpose1d(x, back, bias, stride, 0, 0, groups, dilation)
    equal(convolve_transposed(x, back, bias, stride, dilation, groups), wanted, x, back, bias)


@pytest.mark.parametrize(("left", "right"), [(0, 0), (6, 0), (3, 4), (0, 9)])
@pytest.mark.parametrize(("reflect", "mode"), [(True, "reflect"), (False, "constant")])
def test_paddings(left: int, right: int, reflect: bool, mode: str) -> None:
    x = rows(2, 3, 10)
    got = padded(x, left, right, reflect)
    assert got.stride(1) == 1
    equal(got, F.pad(x, (left, right), mode), x)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("pad_mode", ["reflect", "constant", "replicate"])
def test_seanet_is_the_same_on_a_gpu(pad_mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"filters": 8, "pad_mode": pad_mode, "ratios": (4, 2)}
    quantizer = partial(ResidualVQ, codebooks=2, codebook_size=16)
    codec = Codec(Audio(24000), SEANetEncoder(dim=16, **settings), quantizer, partial(SEANetDecoder, **settings))
    same(codec, monkeypatch)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("paths", [(), PATHS])
def test_dac_is_the_same_on_a_gpu(paths: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"ratios": (4, 5)}
    decoder = partial(DACDecoder, width=32, **settings)
    quantizer = partial(ResidualVQ, codebooks=2, codebook_size=16)
    same(Codec(Audio(24000), DACEncoder(1, 16, 8, **settings), quantizer, decoder), monkeypatch, paths)


def same(codec: Codec, monkeypatch: pytest.MonkeyPatch, paths: tuple[Path, ...] = PATHS) -> None:
    """Latents, decodings and gradients of both networks on a GPU and on the CPU."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    signal, found = 0.1 * torch.randn(3, 1, 1003), []
    for device in ("cpu", "cuda"):
        codec, leaf = codec.to(device), signal.to(device).requires_grad_()
        parameters = [p for part in (codec.encoder, codec.decoder) for p in part.parameters()]
        with gpu_paths(paths):
            latents = codec.train().encoder(leaf)
            decoded = codec.decoder(latents)
            with torch.no_grad():
                again = codec.eval().decoder(codec.encoder(leaf))
        gradients = torch.autograd.grad((decoded - 1).square().mean(), [leaf, *parameters])
        found.append([t.detach().cpu() for t in (latents, decoded, again, *gradients)])
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).norm() <= 2e-4 * theirs.norm() + 1e-7
