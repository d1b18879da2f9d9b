"""Every layer, fed in pieces of any size, gives what it gives for the whole, for signals of every length."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from neuralcodecs import CodecError
from neuralcodecs.layers import Chain, Conv, ResidualLSTM, ResidualUnit, State, Streamed, TransposedConv
from neuralcodecs.layers.snake import SnakeUnit, Upsample
from neuralcodecs.layers.transformer import Transformer

CHANNELS = 4
LENGTHS = [*range(14), 29, 40]


def in_pieces(layer: Streamed, x: Tensor, most: int) -> Tensor:
    """The outputs of pieces of 0 to ``most`` positions, joined; each as soon as ``reach`` says and no sooner."""
    state, outputs, position, given = layer.start(len(x)), [], 0, 0
    while position < x.shape[-1]:
        size = int(torch.randint(0, most + 1, ()))
        piece = x[..., position : position + size]
        position += piece.shape[-1]
        output, state = layer.step(piece, state, last=False)
        outputs.append(output)
        given += output.shape[-1]
        assert position <= layer.reach(given)
        assert given == 0 or layer.reach(given - 1) < position
    return torch.cat([*outputs, layer.step(x[..., :0], state, last=True)[0]], dim=-1)


@torch.no_grad()
def assert_streams(layer: Streamed) -> None:
    for length in LENGTHS:
        x = torch.randn(2, CHANNELS, length)
        for most in (1, 3, 50):
            streamed = in_pieces(layer, x, most)
            if length:
                torch.testing.assert_close(streamed, layer(x), rtol=0, atol=2e-6)
            assert length or streamed.shape[-1] == 0


SHAPES = [(1, 1, 1), (3, 1, 1), (7, 1, 1), (3, 1, 3), (4, 2, 1), (10, 5, 1), (5, 5, 1), (3, 3, 1), (5, 3, 1)]


@pytest.mark.parametrize(("causal", "mode"), itertools.product([True, False], ["constant", "reflect", "replicate"]))
@pytest.mark.parametrize(("kernel", "stride", "dilation"), SHAPES)
def test_convolution(kernel: int, stride: int, dilation: int, causal: bool, mode: str) -> None:
    conv = nn.Conv1d(CHANNELS, 3, kernel, stride, dilation=dilation)
    assert_streams(Conv(conv, causal=causal, pad_mode=mode, norm="weight_norm"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("causal", "ratio"), [(True, 1.0), (True, 0.5), (True, 0.0), (False, 1.0)])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (4, 2), (10, 5), (3, 3), (7, 3), (5, 1), (6, 4)])
def test_transposed_convolution(kernel: int, stride: int, causal: bool, ratio: float) -> None:
    conv = nn.ConvTranspose1d(CHANNELS, 3, kernel, stride)
    assert_streams(TransposedConv(conv, causal=causal, trim_right_ratio=ratio))


@pytest.mark.parametrize("true_skip", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_units_align_their_branches(causal: bool, true_skip: bool) -> None:
    assert_streams(ResidualUnit(CHANNELS, lambda c: Conv(c, causal, "reflect"), dilation=3, true_skip=true_skip))
    assert_streams(Chain(SnakeUnit(CHANNELS, 3), SnakeUnit(CHANNELS, 1)))


@pytest.mark.parametrize("stride", [1, 2, 5])
def test_upsampling_that_loses_a_position(stride: int) -> None:
    assert_streams(Upsample(CHANNELS, 3, stride))


def test_recurrent_and_attentive_layers() -> None:
    assert_streams(ResidualLSTM(CHANNELS, 2))
    assert_streams(Transformer(CHANNELS, depth=2, heads=2, hidden=8, context=5, scale=0.5))
    assert_streams(Transformer(CHANNELS, depth=1, heads=1, hidden=8, context=1, scale=0.5))


@torch.no_grad()
def test_streams_that_started_at_different_times_share_a_batch() -> None:
    layer = Chain(
        Conv(nn.Conv1d(CHANNELS, CHANNELS, 4, 2), causal=True),
        Transformer(CHANNELS, depth=2, heads=2, hidden=8, context=5, scale=0.5),
        TransposedConv(nn.ConvTranspose1d(CHANNELS, CHANNELS, 4, 2), causal=True),
    )
    x = torch.randn(2, CHANNELS, 40)
    first, old = layer.step(x[:1, :, :20], layer.start(1), last=False)
    both, state = layer.step(torch.cat([x[:1, :, 20:], x[1:, :, :20]]), State.stack([old, layer.start(1)]), last=False)
    _, young = state.split([1, 1])
    rest, _ = layer.step(x[1:, :, 20:], young, last=True)
    whole = layer(x)
    torch.testing.assert_close(torch.cat([first, both[:1]], -1), whole[:1], rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.cat([both[1:], rest], -1), whole[1:], rtol=0, atol=1e-6)


def test_what_cannot_be_streamed_says_why() -> None:
    with pytest.raises(CodecError, match="time_group_norm is computed over the whole signal"):
        Conv(nn.Conv1d(2, 2, 3), norm="time_group_norm").start(1)
    with pytest.raises(CodecError, match="it has 2 axes"):
        TransposedConv(nn.ConvTranspose2d(2, 2, 3)).reach(0)
    conv = Conv(nn.Conv1d(2, 2, 4, 2))
    begun = conv.step(torch.zeros(1, 2, 3), conv.start(1), last=False)[1]
    with pytest.raises(CodecError, match="2 streams are not at the same place"):
        State.stack([begun, conv.start(1)])
