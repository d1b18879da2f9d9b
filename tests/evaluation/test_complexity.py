"""Arithmetic and parameters: published figures, hand counts, tiles, sound."""

from functools import partial

import pytest
import torch
from examples import make_codec
from generative import flow_picture_codec
from image_networks import cnn_codec, picture, token_codec
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from neuralcodecs.audio import Audio, LogMelEncoder
from neuralcodecs.codec import Codec
from neuralcodecs.decoders import AdaptiveGroupNorm, CNNDecoder, LightDecoder, VocosDecoder
from neuralcodecs.encoders import CNNEncoder
from neuralcodecs.evaluation.complexity import _macs, complexity
from neuralcodecs.image import Image
from neuralcodecs.quantizers.binary import GroupedLFQ
from neuralcodecs.quantizers.rounded import Rounded


@pytest.mark.parametrize(
    ("dim", "multipliers", "published"),
    [(32, (1, 1, 2, 2, 4), (8118, 9671)), (64, (1, 2, 2, 4), (12988, 17432))],
    ids=["192x", "24x"],
)
def test_wetok(dim: int, multipliers: tuple[int, ...], published: tuple[int, int]) -> None:
    network = {"width": 256, "multipliers": multipliers, "blocks": 4}
    with torch.device("meta"):
        decoder = partial(CNNDecoder, level_norm=AdaptiveGroupNorm, **network)
        codec = Codec(Image(), CNNEncoder(dim=dim, **network), partial(GroupedLFQ, groups=4), decoder)
    cost = complexity(codec, (256, 256))
    assert (round(cost.encoder_macs / 1e3), round(cost.decoder_macs / 1e3)) == published


def test_light_decoder() -> None:
    """270 kMAC per pixel for TAESD's."""
    with torch.device("meta"):
        encoder = CNNEncoder(dim=4, width=8, multipliers=(1, 1, 1, 1), blocks=1)
        codec = Codec(Image(), encoder, partial(GroupedLFQ, groups=1), LightDecoder)
    assert complexity(codec, (256, 256)).decoder_macs / 1e3 == pytest.approx(270, rel=0.01)


def test_sound_by_hand() -> None:
    """Every layer of SEANet, LSTM included, from the shapes that pass through it."""
    codec = make_codec()
    cost = complexity(codec, (32000,))  # two seconds, 100 frames
    assert cost.encoder_macs * 2 == macs_by_hand(codec.encoder, torch.zeros(1, 1, 32000))
    assert cost.decoder_macs * 2 == macs_by_hand(codec.decoder, torch.zeros(1, 8, 100))
    assert cost.encoder_parameters == sum(p.numel() for p in codec.encoder.parameters())


@torch.enable_grad()  # without gradients convolutions are not called, but applied with weights that were kept
def macs_by_hand(module: nn.Module, x: torch.Tensor) -> int:
    total = 0

    def count(layer: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):  # each kernel meets every output, or input, position once
            positions = output if isinstance(layer, nn.Conv1d) else inputs[0]
            total += layer.weight.numel() * positions.shape[-1]
        if isinstance(layer, nn.LSTM):
            weights = sum(p.numel() for n, p in layer.named_parameters() if n.startswith("weight"))
            total += weights * inputs[0].shape[0]

    handles = [layer.register_forward_hook(count) for layer in module.modules()]
    module(x)
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize("kind", [{}, {"bidirectional": True}, {"proj_size": 3}, {"batch_first": True}], ids=str)
def test_a_recurrent_layer_costs_what_its_steps_do(kind: dict) -> None:
    layer, x = nn.LSTM(6, 5, 2, device="meta", **kind), torch.empty(3, 7, 6, device="meta")
    with FlopCounterMode(display=False) as counter:
        expected = layer(x)[0]
    output, macs = _macs(_First(layer), x)
    assert macs == counter.get_total_flops() // 2 > 0 and output.shape == expected.shape


class _First(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


def test_tiles_cost_what_they_are_padded_to() -> None:
    codec = token_codec()
    one, four = complexity(codec, (32, 24)), complexity(codec, (33, 25))
    assert four.encoder_macs * 33 * 25 == pytest.approx(4 * one.encoder_macs * 32 * 24)
    assert one.decoder_macs > 0


def test_counting_leaves_the_codec_alone() -> None:
    codec, signal = cnn_codec().train(), picture(16, 16)
    before = codec.eval().decode(codec.encode(signal))
    codec.train()
    complexity(codec, (64, 64))
    assert codec.encoder.training and codec.device.type == "cpu"
    assert all(p.requires_grad for p in codec.parameters())
    assert torch.equal(codec.eval().decode(codec.encode(signal)), before)


def test_what_is_drawn_and_what_a_vocoder_makes_of_it_are_counted() -> None:
    drawing = complexity(flow_picture_codec(), (32, 32))
    assert drawing.decoder_macs > 0 and drawing.decoder_parameters > 0
    mel = LogMelEncoder(16000, bands=8, window=256, hop=64, padding="same")
    vocoder = Codec(Audio(16000), mel, Rounded, partial(VocosDecoder, width=8, hidden=16, blocks=1, window=256))
    per_frame = 8 * 8 * 7 + 8 * 7 + 2 * 8 * 16 + 8 * 258  # convolutions, the two layers of a block, the head
    assert complexity(vocoder, (6400,)).decoder_macs == pytest.approx(per_frame * 16000 / 64)
